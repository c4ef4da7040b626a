/**
 * A real kube-apiserver with its etcd on loopback, for one test file. Nothing else of Kubernetes runs: what would be
 * made by controllers the test makes. Needs no root: `advertise-address` is only written into an object, never used.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'

/** Of the newest Kubernetes that is built here, or of that of LIGHTPATH_KUBERNETES. */
const version = execFileSync(join(import.meta.dirname, '../../hack/kubernetes/version'), { encoding: 'utf8' }).trim()
/** What tools/setup and hack/kubernetes/build keep. */
export const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'lightpath')
/** Where hack/kubernetes/build puts what it builds. */
export const programs = join(cache, `cluster-${version}`)

/** Why there can be no API server here; undefined when there can. */
export const noApiServer = ['etcd', 'kube-apiserver'].every(program => existsSync(join(programs, program)))
  ? undefined
  : `no etcd and kube-apiserver in ${programs}; tools/setup cluster builds them`

/** Why there can be no kubectl here; undefined when there can. */
export const noKubectl = existsSync(join(programs, 'kubectl'))
  ? undefined
  : `no kubectl in ${programs}; hack/kubernetes/build builds it`

/** Why there can be no Helm here; undefined when there can. */
export const noHelm = existsSync(join(programs, 'helm'))
  ? undefined
  : `no helm in ${programs}; hack/kubernetes/build builds it`

/** Why the API server has no MutatingAdmissionPolicies; undefined when it has. */
export const noAdmissionPolicies =
  Number(version.split('.')[1]) >= 36 ? undefined : `Kubernetes ${version} has no MutatingAdmissionPolicies`

export const adminToken = 'admin-token'
/** A user without any rights. */
export const guestToken = 'guest-token'

export interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

export class ApiServerProcess {
  readonly directory = mkdtempSync(join(tmpdir(), 'lightpath-apiserver-'))
  readonly #flags: readonly string[]
  #etcdPort = 0
  #etcd: ChildProcess | undefined
  #server: ChildProcess | undefined
  port = 0

  /** @param flags for kube-apiserver, such as feature gates */
  constructor(flags: readonly string[] = []) {
    this.#flags = flags
  }

  async start(): Promise<void> {
    const [etcdPort, peerPort, port] = await freePorts(3)
    this.#etcdPort = etcdPort!
    this.port = port!
    const etcd = `http://127.0.0.1:${etcdPort}`
    const peer = `http://127.0.0.1:${peerPort}`
    this.#etcd = this.#spawn('etcd', [
      ...[`--data-dir=${join(this.directory, 'etcd')}`, '--unsafe-no-fsync', `--initial-cluster=default=${peer}`],
      ...[`--listen-client-urls=${etcd}`, `--advertise-client-urls=${etcd}`],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
    ])
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    writeFileSync(this.#path('service-accounts.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
    writeFileSync(this.#path('tokens.csv'), `${adminToken},admin,1,system:masters\n${guestToken},guest,2\n`)
    await this.startServer()
  }

  /** Also after `killServer`, on the same port and with what etcd holds. */
  async startServer(): Promise<void> {
    this.#server = this.#spawn('kube-apiserver', [
      ...[`--etcd-servers=http://127.0.0.1:${this.#etcdPort}`, '--etcd-compaction-interval=0'],
      ...['--bind-address=127.0.0.1', `--secure-port=${this.port}`, `--cert-dir=${this.#path('certificates')}`],
      ...[
        '--advertise-address=192.0.2.1',
        '--endpoint-reconciler-type=none',
        '--service-cluster-ip-range=10.96.0.0/16',
        '--allow-privileged=true',
      ],
      ...['--authorization-mode=RBAC', `--token-auth-file=${this.#path('tokens.csv')}`],
      ...['--service-account-issuer=https://kubernetes.default.svc'],
      `--service-account-key-file=${this.#path('service-accounts.key')}`,
      `--service-account-signing-key-file=${this.#path('service-accounts.key')}`,
      ...this.#flags,
    ])
    for (let tries = 0; tries < 600; tries++) {
      if (this.#server.exitCode !== null) break
      const ready = await this.ask('GET', '/readyz').catch(() => undefined)
      if (ready?.status === 200) return
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    throw new Error(
      `kube-apiserver is not ready; ${readFileSync(this.#path('kube-apiserver.log'), 'utf8').slice(-2000)}`,
    )
  }

  /** SIGKILL: no stream is ended in order. */
  async killServer(): Promise<void> {
    await kill(this.#server)
  }

  async stop(): Promise<void> {
    await kill(this.#server)
    await kill(this.#etcd)
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** A kubeconfig for these credentials, at the server or at a port before it. */
  kubeconfig(name: string, credentials: string, port = this.port): string {
    const file = this.#path(`${name}.kubeconfig`)
    const text = `apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: "https://127.0.0.1:${port}", certificate-authority: certificates/apiserver.crt}}]
users: [{name: test, user: {${credentials}}}]
`
    writeFileSync(file, text)
    return file
  }

  /** As the administrator. */
  async ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const headers = { authorization: `Bearer ${adminToken}`, 'content-type': contentType(method) }
    const options = { host: '127.0.0.1', port: this.port, path, method, headers, rejectUnauthorized: false }
    const asked = request({ ...options, timeout: 10_000 })
    asked.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = await once(asked, 'response')
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    return { status: response.statusCode, body: text.startsWith('{') ? JSON.parse(text) : { text } }
  }

  /** Makes namespaces, by name with their labels; those that exist stay as they are. */
  async makeNamespaces(namespaces: Readonly<Record<string, Readonly<Record<string, string>>>>): Promise<void> {
    for (const [name, labels] of Object.entries(namespaces)) {
      const made = await this.ask('POST', '/api/v1/namespaces', { metadata: { name, labels } })
      assert.ok(made.status === 201 || made.status === 409, JSON.stringify(made.body))
    }
  }

  /** As `ask`; fails when the server refuses. */
  async must(method: string, path: string, body?: unknown): Promise<Answer['body']> {
    const answer = await this.ask(method, path, body)
    if (answer.status < 300) return answer.body
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  }

  /** Makes etcd forget every version but the last. */
  async compact(): Promise<void> {
    const { header } = await this.#askEtcd('range', { key: Buffer.from('/').toString('base64') })
    await this.#askEtcd('compaction', { revision: header.revision, physical: true })
  }

  async #askEtcd(call: 'range' | 'compaction', body: unknown): Promise<{ header: { revision: string } }> {
    const url = `http://127.0.0.1:${this.#etcdPort}/v3/kv/${call}`
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
    if (!response.ok) throw new Error(`etcd ${call}: ${await response.text()}`)
    return (await response.json()) as { header: { revision: string } }
  }

  #path(name: string): string {
    return join(this.directory, name)
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const child = spawn(join(programs, program), args, { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr!.pipe(createWriteStream(this.#path(`${program}.log`), { flags: 'a' }))
    return child
  }
}

function contentType(method: string): string {
  return method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
}

async function kill(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map(server => once(server, 'listening')))
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(servers.map(server => once(server.close(), 'close')))
  return ports
}
