"""Commercial cryptography (SM2, SM3, SM4, HMAC) and the signing forms that adapters, gateway and sandbox share."""
