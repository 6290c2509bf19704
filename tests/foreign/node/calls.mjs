// Calls the hub's SOAP service with the npm package `soap`. From standard input, JSON: {"wsdl", "party", "password",
// "version": "11" or "12", "calls": [{"operation", "values"}]}. To standard output, one result per call:
// {"answer": {...}} or {"fault": {"code", "reason", "detail"}}.

import soap from "soap";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const job = JSON.parse(Buffer.concat(chunks).toString("utf8"));

const basic = "Basic " + Buffer.from(`${job.party}:${job.password}`).toString("base64");
const client = await soap.createClientAsync(job.wsdl, {
  wsdl_headers: { Authorization: basic },
  forceSoap12Headers: job.version === "12",
});
client.setSecurity(new soap.BasicAuthSecurity(job.party, job.password));
const port = client.SettlementHub[`SettlementHub${job.version}`];

function call(operation, values) {
  return new Promise((resolve) => {
    port[operation](values, (error, answer) => {
      if (error && error.root === undefined) resolve({ broken: String(error) });
      else if (error) resolve({ fault: plain(error.root.Envelope.Body.Fault) });
      else resolve({ answer });
    });
  });
}

function plain(fault) {
  const twelve = fault.Code !== undefined;
  const reason = twelve ? fault.Reason.Text : fault.faultstring;
  return {
    code: twelve ? fault.Code.Value : fault.faultcode,
    reason: reason.$value ?? reason,
    detail: (twelve ? fault.Detail : fault.detail).HubFault,
  };
}

const results = [];
for (const each of job.calls) results.push(await call(each.operation, each.values));
process.stdout.write(JSON.stringify(results));
