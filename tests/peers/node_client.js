// Uses the fault proxy through toxiproxy-node-client; `run.py` starts it with NODE_PATH set.
const assert = require("node:assert");
const { Toxiproxy } = require("toxiproxy-node-client");

const API = "127.0.0.1:8474";

async function main() {
  const server = new Toxiproxy(`http://${API}`);
  assert.match(String(await server.getVersion()), /2\.12\.0/);
  const edge = await server.createProxy({ name: "edge", listen: "127.0.0.1:0", upstream: API });
  assert.equal(edge.enabled, true);
  await assert.rejects(server.createProxy({ name: "edge", listen: "127.0.0.1:0", upstream: API }));
  const late = await edge.addToxic({
    name: "late", type: "latency", stream: "downstream", toxicity: 1, attributes: { latency: 5, jitter: 1 },
  });
  assert.deepEqual(late.attributes, { latency: 5, jitter: 1 });
  const changed = await late.update({ ...late.toJson(), toxicity: 0.5 });
  assert.equal(changed.toxicity, 0.5);
  assert.equal((await edge.getToxic("late")).toxicity, 0.5);
  await late.remove();
  await assert.rejects(edge.getToxic("late"));
  assert.equal((await edge.update({ ...edge.toJson(), enabled: false })).enabled, false);
  await server.reset();
  assert.equal((await server.get("edge")).enabled, true);
  const populated = await server.populate([{ name: "two", listen: "127.0.0.1:0", upstream: API }]);
  assert.deepEqual(Object.keys(populated), ["two"]);
  assert.deepEqual(Object.keys(await server.getAll()).sort(), ["edge", "two"]);
  for (const proxy of Object.values(await server.getAll())) await proxy.remove();
  assert.deepEqual(await server.getAll(), {});
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
