"""Critical-illness systems of the China Life type: SOAP with an XML string, transactions by bus_code."""
