import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { makeServerCertificate } from '../../../src/certificates/certificate.ts'
import { ApiServerProcess, freePorts, noApiServer } from '../apiserver.ts'
import { render } from '../deploy/kustomize.ts'
import { Admission, plain, proxyName, until } from './admission.ts'
import { noOpa, opa, opaArguments } from './opa.ts'

const run = promisify(execFile)
const component = join(import.meta.dirname, '../../../deploy/components/opa')
const policyOptions = { skip: noOpa, timeout: 120_000 }
const options = { skip: noApiServer ?? noOpa, timeout: 120_000 }
const server = new ApiServerProcess()
const admission = new Admission(server)
let port = 0
let child: ChildProcess | undefined

before(async () => {
  if (options.skip !== undefined) return
  await server.start()
  await admission.makeNamespaces()
  const authority = await startOpa()
  const rendered = await render('webhook', 'components/opa')
  const configuration = rendered.find(({ kind }) => kind === 'MutatingWebhookConfiguration')!
  const [webhook] = configuration.webhooks
  const url = `https://127.0.0.1:${port}${webhook.clientConfig.service.path}`
  webhook.clientConfig = { url, caBundle: Buffer.from(authority).toString('base64') }
  await server.must('POST', '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', configuration)
  await admission.untilInForce()
})

after(async () => {
  await stopOpa()
  await server.stop()
})

test('the policy passes its own tests, `opa test`', policyOptions, async () => {
  const { stdout } = await run(opa, ['test', join(component, 'policy')])
  assert.match(stdout, /^PASS: \d+\/\d+$/m)
})

test('the policy is strict and formatted, `opa check` and `opa fmt`', policyOptions, async () => {
  await run(opa, ['check', '--strict', join(component, 'policy')])
  await run(opa, ['fmt', '--fail', '--list', join(component, 'policy')])
})

admission.testVectors('OPA', options)

test('nobody replaces or reads the policy through OPA’s own API', options, async () => {
  assert.equal(await status('GET', '/health'), 200)
  for (const [method, path] of [
    ['PUT', '/v1/policies/mine'],
    ['DELETE', '/v1/policies//policy/admission.rego'],
    ['GET', '/v1/policies'],
    ['PUT', '/v1/data/mine'],
    ['POST', '/v1/compile'],
  ] as const) {
    assert.equal(await status(method, path), 401, `${method} ${path}`)
  }
})

test('an OPA that is gone keeps no Service from being created', options, async () => {
  await stopOpa()
  assert.equal((await admission.create(plain))[proxyName], undefined)
})

/** With the arguments of the Deployment; the authority of its certificate. */
async function startOpa(): Promise<string> {
  ;[port = 0] = await freePorts(1)
  const hour = 3600e3
  const made = makeServerCertificate(['127.0.0.1'], new Date(Date.now() - hour), new Date(Date.now() + hour))
  const certificate = join(server.directory, 'opa')
  mkdirSync(certificate)
  writeFileSync(join(certificate, 'tls.crt'), made.certificate)
  writeFileSync(join(certificate, 'tls.key'), made.key)
  const args = opaArguments.map(argument =>
    argument
      .replace('/certificate/', `${certificate}/`)
      .replace('/policy/', `${component}/policy/`)
      .replace('--addr=:9443', `--addr=127.0.0.1:${port}`),
  )
  child = spawn(opa, args, { stdio: 'inherit' })
  await until('OPA is healthy', async () => (await status('GET', '/health').catch(() => 0)) === 200)
  return made.authority
}

async function stopOpa(): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

async function status(method: string, path: string): Promise<number> {
  const asked = request({ host: '127.0.0.1', port, path, method, agent: false, rejectUnauthorized: false })
  asked.end()
  const [response] = await once(asked, 'response')
  response.resume()
  return response.statusCode
}
