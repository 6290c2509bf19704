"""The basic system over SOAP 1.1 and 1.2, by the WSDL in `schemas.wsdl`."""
