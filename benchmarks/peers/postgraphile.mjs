// PostGraphile 5 as its documentation runs it: the preset that it recommends, in library mode, in production.
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const pgl = postgraphile({
  extends: [PostGraphileAmberPreset],
  grafast: { explain: false },
  grafserv: { graphiql: false, watch: false },
  pgServices: [makePgService({ connectionString: process.env.PEER_DATABASE_URL, schemas: ["peer"] })],
});

const server = createServer();
await pgl.createServ(grafserv).addTo(server);
server.listen(0, "127.0.0.1", () => console.log(`answers at port ${server.address().port}`));
