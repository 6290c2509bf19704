"""The application: intake, legs, answers, broker, gateway, command line. The only package that wires the others."""
