// Audits a GraphQL service by the suite of graphql-http, and prints what it finds as JSON.
//
//     node audit.mjs URL

import { auditServer } from "graphql-http";

const found = await auditServer({ url: process.argv[2] });
console.log(JSON.stringify(found.map(({ id, name, status, reason }) => ({ id, name, status, reason }))));
