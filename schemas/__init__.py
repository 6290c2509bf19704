"""The words of the hub: canonical messages, money, code sets, errors, contracts. Imports nothing of ours."""
