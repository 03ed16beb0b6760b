// Sees in the browser itself, by WebCrypto, that an event is in the log that was signed.
//
// docs/proof.md says what is hashed and signed. Nothing is imported and no server is asked, so that this can be read in
// one sitting. What it is handed comes from the very service that is checked, the key too: who wants to be sure
// compares the key with the one that the newsroom publishes.

/**
 * @typedef {{name: 'payload' | 'leaf' | 'path' | 'signature', passed: boolean | null, told: string}} Step
 * One thing that was checked; `passed` is null where this browser cannot check it.
 */

const HASH_SIZE = 32;
/** The kind of key and signature: Ed25519 over the text of the note. */
const ED25519 = 1;

class Invalid extends Error {}

/** Whether this page may hash at all: browsers give WebCrypto only to https and to this machine. */
export const canCheck = () => globalThis.crypto?.subtle !== undefined;

/**
 * Each step of the proof with what came of it, in order.
 *
 * @param {{position: number, type: string, schemaVersion: number, recordedAt: string, actor: string, eventId: string,
 *   payload: object, leaf: string, inclusionProof: {hashes: string[]}}} event  as GraphQL gives it.
 * @param {{verifierKey: string, checkpoint: {note: string}}} log  as GraphQL gives it.
 * @returns {Promise<Step[]>}
 */
export async function check(event, log) {
  const steps = { payload: checkPayload, leaf: checkLeaf, path: checkPath, signature: checkSignature };
  return Promise.all(
    Object.entries(steps).map(async ([name, step]) => {
      try {
        return { name, ...(await step(event, log)) };
      } catch (error) {
        // Whatever goes wrong on bytes that nobody vouches for, nothing was shown by them.
        const told = error instanceof Invalid ? error.message : `It cannot be read: ${error.message}`;
        return { name, passed: false, told };
      }
    }),
  );
}

/**
 * Canonical JSON as RFC 8785 has it: that is JSON as this language writes it, with names in order.
 *
 * @param {unknown} value  as JSON.parse gives it.
 * @returns {string}
 */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const fields = Object.keys(value).sort();
  return `{${fields.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)}}`;
}

// --- the steps ----------------------------------------------------------------------

async function checkPayload(event) {
  const hash = hex(await sha256(utf8(canonical(event.payload))));
  const named = JSON.parse(event.leaf).payload_sha256;
  demand(hash === named, `The content hashes to ${short(hash)}, and the leaf names ${short(String(named))}.`);
  return { passed: true, told: `The content hashes to ${short(hash)}, as the leaf says.` };
}

async function checkLeaf(event) {
  const leaf = JSON.parse(event.leaf);
  demand(canonical(leaf) === event.leaf, 'The leaf is not in canonical form.');
  const shown = {
    actor: event.actor,
    event_id: event.eventId,
    payload_sha256: leaf.payload_sha256,
    recorded_at: microseconds(event.recordedAt),
    schema_version: event.schemaVersion,
    type: event.type,
  };
  demand(canonical(shown) === event.leaf, 'The leaf says something else than what is shown here.');
  return { passed: true, told: 'The leaf says the type, time and sender that are shown here.' };
}

async function checkPath(event, log) {
  const { size, root } = checkpoint(openNote(log.checkpoint.note).text);
  const leaf = await sha256(Uint8Array.of(0), utf8(event.leaf));
  const path = event.inclusionProof.hashes.map((each) => hashFrom(each, 'A hash of the path'));
  const computed = await rootFrom(leaf, event.position - 1, size, path);
  demand(equal(computed, root), 'Leaf and path do not lead to the root of the checkpoint.');
  return {
    passed: true,
    told: `The leaf hashes to ${short(hex(leaf))}; a path of ${path.length} hashes leads from it to ` +
      `the root ${short(hex(root))} of the checkpoint over ${size} entries.`,
  };
}

async function checkSignature(_, log) {
  const { text, signatures } = openNote(log.checkpoint.note);
  const key = await verifierKey(log.verifierKey);
  demand(checkpoint(text).origin === key.name, 'The checkpoint is of another log than the key.');
  const ours = signatures.filter(({ name, id }) => name === key.name && id === key.id);
  demand(ours.length > 0, `The checkpoint is not signed by ${key.name}, with the key ${key.id}.`);
  let imported;
  try {
    imported = await crypto.subtle.importKey('raw', key.bytes, { name: 'Ed25519' }, false, ['verify']);
  } catch {
    return { passed: null, told: 'This browser cannot check Ed25519 signatures; a newer one can.' };
  }
  for (const { signature } of ours) {
    const fits = await crypto.subtle.verify({ name: 'Ed25519' }, imported, signature, utf8(text));
    demand(fits, `The signature of ${key.name} does not fit the checkpoint.`);
  }
  return { passed: true, told: `The checkpoint is signed by ${key.name}, with the key ${key.id}.` };
}

/** The root to which a leaf's hash and its path lead: RFC 9162, section 2.1.3.2. */
async function rootFrom(leaf, index, size, path) {
  demand(index >= 0 && index < size, `There is no leaf ${index} in a tree of ${size}.`);
  // Halved by arithmetic: bit operators of this language see 32 bits.
  const half = (number) => Math.floor(number / 2);
  let [at, last, computed] = [index, size - 1, leaf];
  for (const each of path) {
    demand(last > 0, 'The path is too long.');
    if (at % 2 === 1 || at === last) {
      computed = await sha256(Uint8Array.of(1), each, computed);
      while (at !== 0 && at % 2 === 0) [at, last] = [half(at), half(last)];
    } else {
      computed = await sha256(Uint8Array.of(1), computed, each);
    }
    [at, last] = [half(at), half(last)];
  }
  demand(last === 0, 'The path is too short.');
  return computed;
}

// --- reading notes and keys (C2SP signed-note, tlog-checkpoint) -----------------------

/** The text of a signed note and its signatures. */
function openNote(note) {
  const end = note.lastIndexOf('\n\n');
  demand(end > 0 && note.endsWith('\n'), 'The checkpoint is not a signed note.');
  const lines = note.slice(end + 2, -1).split('\n');
  const signatures = lines.map((line) => {
    const [dash, name, encoded, ...more] = line.split(' ');
    demand(dash === '—' && name && encoded && !more.length, 'The checkpoint has a signature that cannot be read.');
    const data = base64(encoded, 'A signature of the checkpoint');
    return { name, id: hex(data.slice(0, 4)), signature: data.slice(4) };
  });
  return { text: note.slice(0, end + 1), signatures };
}

/** What the text of a note says of the log. */
function checkpoint(text) {
  const [origin, size, root] = text.split('\n');
  demand(/^(0|[1-9][0-9]{0,14})$/.test(size), 'The size in the checkpoint is no number.');
  return { origin, size: Number(size), root: hashFrom(root, 'The root in the checkpoint') };
}

/** The key that is written `name+id+base64`. */
async function verifierKey(text) {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? [];
  demand(name, 'The verifier key cannot be read.');
  const data = base64(encoded, 'The verifier key');
  demand(data[0] === ED25519 && data.length === 1 + HASH_SIZE, 'The verifier key is not an Ed25519 key.');
  const computed = hex(await sha256(utf8(`${name}\n`), data)).slice(0, 8);
  demand(computed === id, 'The verifier key is damaged: its id is not that of its name and key.');
  return { name, id, bytes: data.slice(1) };
}

// --- bytes ----------------------------------------------------------------------------

function demand(holds, otherwise) {
  if (!holds) throw new Invalid(otherwise);
}

const utf8 = (text) => new TextEncoder().encode(text);
const hex = (bytes) => Array.from(bytes, (each) => each.toString(16).padStart(2, '0')).join('');
const equal = (one, other) => hex(one) === hex(other);
const short = (hash) => `${hash.slice(0, 12)}…`;

/** An instant with six digits after the second, as a leaf writes it. */
const microseconds = (instant) =>
  instant.replace(/(?:\.(\d{1,6}))?Z$/, (_, digits = '') => `.${digits.padEnd(6, '0')}Z`);

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer()));
}

/** The bytes of base64 in its one canonical spelling. */
function base64(text, what) {
  let decoded;
  try {
    decoded = atob(text);
  } catch {
    throw new Invalid(`${what} is not base64.`);
  }
  demand(btoa(decoded) === text, `${what} is not base64.`);
  return Uint8Array.from(decoded, (char) => char.charCodeAt(0));
}

function hashFrom(text, what) {
  const bytes = base64(text, what);
  demand(bytes.length === HASH_SIZE, `${what} is not ${HASH_SIZE} bytes long.`);
  return bytes;
}
