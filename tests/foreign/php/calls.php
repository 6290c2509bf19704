<?php
// Calls the hub's SOAP service with PHP's own SoapClient. From standard input, JSON: {"wsdl", "party", "password",
// "version": "11" or "12", "calls": [{"operation", "values"}]}. To standard output, one result per call:
// {"answer": {...}} or {"fault": {"code", "reason", "detail"}}.

$job = json_decode(stream_get_contents(STDIN), true, 64, JSON_THROW_ON_ERROR);
$client = new SoapClient($job['wsdl'], [
    'login' => $job['party'],
    'password' => $job['password'],
    'soap_version' => $job['version'] === '12' ? SOAP_1_2 : SOAP_1_1,
    'cache_wsdl' => WSDL_CACHE_NONE,
    'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
    'connection_timeout' => 10,
]);
$results = [];
foreach ($job['calls'] as $call) {
    try {
        $results[] = ['answer' => $client->__soapCall($call['operation'], [$call['values']])];
    } catch (SoapFault $fault) {
        $detail = $fault->detail->HubFault ?? null;
        $results[] = ['fault' => ['code' => $fault->faultcode, 'reason' => $fault->getMessage(), 'detail' => $detail]];
    }
}
echo json_encode($results, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
