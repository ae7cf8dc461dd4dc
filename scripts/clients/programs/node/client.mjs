// Writes and reads values as Node applications do; the protocol is described in scripts/clients/runtimes.py.
// Each client has `read` and `write`; `label` is what its values call a key, `derive` the key that it makes of its secret.
import crypto from 'node:crypto'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const version = name => JSON.parse(require('node:fs').readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version
const text = key => key.secret.toString('latin1')

function seal (key, plaintext, { size = 12, aad } = {}) {
  const iv = crypto.randomBytes(size)
  const cipher = crypto.createCipheriv('aes-256-gcm', key.secret, iv)
  if (aad) cipher.setAAD(Buffer.from(aad))
  const data = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()])
  return { iv, tag: cipher.getAuthTag(), data }
}

function open (key, { iv, tag, data }, aad) {
  const decipher = crypto.createDecipheriv('aes-256-gcm', key.secret, iv)
  decipher.setAuthTag(tag)
  if (aad) decipher.setAAD(Buffer.from(aad))
  return Buffer.concat([decipher.update(data), decipher.final()]).toString('utf8')
}

// The pieces iv, tag and data between marks, behind what `head` makes of the key.
function pieces (encoding, mark, head = () => '', aad = () => undefined) {
  return {
    package: 'node',
    write: (key, name, plaintext) => {
      const { iv, tag, data } = seal(key, plaintext, { aad: aad(key, name) })
      return head(key) + [iv, tag, data].map(part => part.toString(encoding)).join(mark)
    },
    read: (key, name, value) => {
      if (!value.startsWith(head(key))) throw new Error('another beginning')
      const [iv, tag, data] = value.slice(head(key).length).split(mark).map(part => Buffer.from(part, encoding))
      return open(key, { iv, tag, data }, aad(key, name))
    }
  }
}

const header = kid => Object.assign({ alg: 'dir', enc: 'A256GCM' }, kid && { kid })
const jwe = kid => ({
  package: 'jose',
  write: async (key, name, plaintext) => {
    const { CompactEncrypt } = await import('jose')
    return new CompactEncrypt(Buffer.from(plaintext)).setProtectedHeader(header(kid(key))).encrypt(key.secret)
  },
  read: async (key, name, value) => {
    const { compactDecrypt } = await import('jose')
    const { plaintext, protectedHeader } = await compactDecrypt(value, key.secret)
    if (protectedHeader.kid !== kid(key)) throw new Error('another kid')
    return Buffer.from(plaintext).toString()
  },
  label: key => Buffer.from(JSON.stringify(header(kid(key)))).toString('base64url')
})

const cloakKey = async key => {
  const { formatKey, parseKeySync } = await import('@47ng/cloak')
  return parseKeySync(formatKey ? formatKey(key.secret) : `k1.aesgcm256.${key.secret.toString('base64url')}=`)
}
const adonis = async key => {
  const { aes256gcm } = await import('@boringnode/encryption/drivers/aes_256_gcm')
  const config = aes256gcm({ id: 'app', keys: [text(key)] })
  return config.driver(text(key))
}
const typeorm = key => ({ algorithm: 'aes-256-gcm', ivLength: 16, key: key.secret.toString('hex') })
const INFO = 'NextAuth.js Generated Encryption Key'

async function store (key, server, work) {
  const { default: SecureStore } = await import('secure-store-redis')
  const [host, port] = (server ?? 'localhost:0').split(':')
  const one = new SecureStore({ uid: 'box', secret: text(key), allowWeakSecrets: true, redis: { host, port: Number(port), lazyConnect: true } })
  if (server) await one.connect()
  try { return await work(one) } finally { if (server) await one.disconnect() }
}

const CLIENTS = {
  'Node `createCipheriv`, iv:tag:data in hex': pieces('hex', ':'),
  'Node, v1.iv.tag.data in base64url': pieces('base64url', '.', () => 'v1.'),
  'Node, keyId:iv:tag:data in base64': { ...pieces('base64', ':', key => `${key.id}:`), label: key => key.id },
  "Node, iv.tag.data in base64, the entry's key authenticated": pieces('base64', '.', undefined, (key, name) => name.slice('app:'.length)),
  'Node, JSON with iv, tag, data in base64': {
    package: 'node',
    write: (key, name, plaintext) => {
      const { iv, tag, data } = seal(key, plaintext)
      return JSON.stringify({ iv: iv.toString('base64'), tag: tag.toString('base64'), data: data.toString('base64') })
    },
    read: (key, name, value) => open(key, Object.fromEntries(Object.entries(JSON.parse(value)).map(([field, part]) => [field, Buffer.from(part, 'base64')])))
  },
  'WebCrypto, iv and data in base64': {
    package: 'node',
    write: async (key, name, plaintext) => {
      const iv = crypto.webcrypto.getRandomValues(new Uint8Array(12))
      const imported = await crypto.webcrypto.subtle.importKey('raw', key.secret, 'AES-GCM', false, ['encrypt'])
      const data = await crypto.webcrypto.subtle.encrypt({ name: 'AES-GCM', iv }, imported, Buffer.from(plaintext))
      return Buffer.concat([iv, Buffer.from(data)]).toString('base64')
    },
    read: async (key, name, value) => {
      const raw = Buffer.from(value, 'base64')
      const imported = await crypto.webcrypto.subtle.importKey('raw', key.secret, 'AES-GCM', false, ['decrypt'])
      const data = await crypto.webcrypto.subtle.decrypt({ name: 'AES-GCM', iv: raw.subarray(0, 12) }, imported, raw.subarray(12))
      return Buffer.from(data).toString()
    }
  },
  'jose, panva': jwe(() => undefined),
  'jose, panva, with `kid`': jwe(key => key.id),
  'next-auth 4, tokens': {
    package: 'next-auth',
    write: async (key, name, plaintext) => (await import('next-auth/jwt')).default.encode({ token: { text: plaintext }, secret: text(key) }),
    read: async (key, name, value) => (await (await import('next-auth/jwt')).default.decode({ token: value, secret: text(key) })).text,
    label: () => Buffer.from(JSON.stringify(header())).toString('base64url'),
    derive: key => Buffer.from(crypto.hkdfSync('sha256', key.secret, '', INFO, 32)),
    wraps: true
  },
  '@47ng/cloak': {
    package: '@47ng/cloak',
    write: async (key, name, plaintext) => (await import('@47ng/cloak')).encryptStringSync(plaintext, await cloakKey(key)),
    read: async (key, name, value) => {
      const one = await cloakKey(key)
      if (value.split('.')[2] !== one.fingerprint) throw new Error('another key')
      return (await import('@47ng/cloak')).decryptStringSync(value, one)
    },
    label: async key => (await cloakKey(key)).fingerprint
  },
  '@boringnode/encryption, AdonisJS': {
    package: '@boringnode/encryption',
    write: async (key, name, plaintext) => (await adonis(key)).encrypt(plaintext),
    read: async (key, name, value) => (await adonis(key)).decrypt(value),
    derive: key => Buffer.from(crypto.hkdfSync('sha256', crypto.createHash('sha256').update(key.secret).digest(), '', 'aes-256-gcm:v1:app', 32)),
    wraps: true
  },
  '@devoxa/aes-encryption': {
    package: '@devoxa/aes-encryption',
    write: async (key, name, plaintext) => (await import('@devoxa/aes-encryption')).encrypt(text(key), plaintext),
    read: async (key, name, value) => (await import('@devoxa/aes-encryption')).decrypt(text(key), value)
  },
  'aes-256-gcm': {
    package: 'aes-256-gcm',
    write: async (key, name, plaintext) => JSON.stringify((await import('aes-256-gcm')).default.encrypt(plaintext, text(key))),
    read: async (key, name, value) => {
      const { ciphertext, iv, tag } = JSON.parse(value)
      return (await import('aes-256-gcm')).default.decrypt(ciphertext, iv, tag, text(key))
    }
  },
  '@noble/ciphers, `managedNonce(gcm)`': {
    package: '@noble/ciphers',
    write: async (key, name, plaintext) => {
      const [{ gcm }, { managedNonce }] = [await import('@noble/ciphers/aes.js'), await import('@noble/ciphers/utils.js')]
      return Buffer.from(managedNonce(gcm)(key.secret).encrypt(Buffer.from(plaintext)))
    },
    read: async (key, name, value, raw) => {
      const [{ gcm }, { managedNonce }] = [await import('@noble/ciphers/aes.js'), await import('@noble/ciphers/utils.js')]
      return Buffer.from(managedNonce(gcm)(key.secret).decrypt(raw)).toString()
    }
  },
  'typeorm-encrypted': {
    package: 'typeorm-encrypted',
    write: (key, name, plaintext) => require('typeorm-encrypted/lib/crypto').encryptData(Buffer.from(plaintext), typeorm(key)).toString('base64'),
    read: (key, name, value) => require('typeorm-encrypted/lib/crypto').decryptData(Buffer.from(value, 'base64'), typeorm(key)).toString()
  },
  'secure-store-redis': {
    package: 'secure-store-redis',
    write: (key, name, plaintext, server) => store(key, server, one => server ? one.save(name, plaintext, name) : one.encrypt(plaintext)),
    read: async (key, name, value, raw, server) => {
      const found = await store(key, server, one => server ? one.get(name, name) : one.decrypt(value))
      return typeof found === 'object' ? JSON.stringify(found) : found // it parses what is JSON
    }
  }
}

const request = JSON.parse(require('node:fs').readFileSync(0, 'utf8'))
const client = CLIENTS[request.client]
const keys = Object.fromEntries(Object.entries(request.keys).map(([id, secret]) => [id, { id, secret: Buffer.from(secret, 'hex') }]))

async function describe () {
  const found = { version: client.package === 'node' ? process.versions.node : version(client.package), wraps: client.wraps ?? false, labels: {}, derived: {} }
  for (const key of Object.values(keys)) {
    if (client.label) found.labels[key.id] = await client.label(key)
    found.derived[key.id] = (client.derive ? client.derive(key) : key.secret).toString('hex')
  }
  return found
}

async function write ({ key, name, text }) {
  const value = await client.write(keys[key], name, text, request.server)
  return value === undefined ? null : Buffer.from(value).toString('base64')
}

async function read ({ name, value }) {
  const raw = Buffer.from(value ?? '', 'base64')
  for (const key of Object.values(keys)) {
    try { return await client.read(key, name, raw.toString('utf8'), raw, request.server) } catch (error) { console.error(`${name}: ${error.message}`) }
  }
  return null
}

const work = { describe, write, read }[request.op]
const answers = []
for (const item of request.items ?? []) answers.push(await work(item))
console.log(JSON.stringify(request.op === 'describe' ? await describe() : answers))
process.exit(0)
