/** The Helm chart: the objects that Kustomize makes of deploy/, for each of its values, and a real API server that takes them. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { parse, parseAllDocuments } from 'yaml'
import packageJson from '../../../package.json' with { type: 'json' }
import {
  ApiServerProcess,
  adminToken,
  noAdmissionPolicies,
  noApiServer,
  noHelm,
  noKubectl,
  programs,
} from '../apiserver.ts'
import { filesOfZones, kubectl, objectsOf, render, withFiles } from './kustomize.ts'

interface KubernetesObject {
  readonly kind: string
  readonly metadata: { readonly name: string }
}

const run = promisify(execFile)
const chart = join(import.meta.dirname, '../../../deploy/chart')
const options = { skip: noApiServer ?? noKubectl ?? noHelm, timeout: 120_000 }
const server = new ApiServerProcess()
const namespaced = ['--namespace', 'lightpath-system']

before(async () => {
  if (options.skip === undefined) await server.start()
})

after(() => server.stop())

async function helm(...args: readonly string[]): Promise<string> {
  return (await run(join(programs, 'helm'), args, { maxBuffer: 2 ** 24 })).stdout
}

async function template(...values: readonly string[]): Promise<readonly KubernetesObject[]> {
  const settings = values.flatMap(value => ['--set', value])
  const text = await helm('template', 'lightpath', chart, ...namespaced, ...settings)
  return parseAllDocuments(text).flatMap(document => document.toJS() ?? [])
}

/** By kind and name, without what a name has of its content: Kustomize and the chart each have a hash of their own. */
function comparable(objects: readonly KubernetesObject[]): Readonly<Record<string, unknown>> {
  const text = JSON.stringify(objects).replaceAll(/(lightpath-(?:envoy|opa-policy|api-server))-[a-z0-9]{10}"/g, '$1"')
  const entries = (JSON.parse(text) as readonly KubernetesObject[])
    // Helm makes the namespace, and what the API server's address is, Kustomize's user says.
    .filter(({ kind, metadata }) => kind !== 'Namespace' && metadata.name !== 'lightpath-api-server')
    .map(object => [`${object.kind} ${object.metadata.name}`, object] as const)
  return Object.fromEntries(entries.sort(([one], [other]) => (one < other ? -1 : 1)))
}

for (const [values, components] of [
  [[], []],
  [['services=all', 'apiServer.host=192.0.2.1'], ['kube-proxy-free']],
  [['clientAddress=preserve'], ['client-address']],
  [['proxyMode=iptables'], ['iptables']],
  [['prometheus=true'], ['prometheus']],
  [['handOver=admission-policy'], ['admission-policy']],
  [['handOver=opa'], ['opa']],
  [['controlPlane.enabled=true'], ['controlplane']],
  [
    ['controlPlane.enabled=true', 'controlPlane.reachability=condition'],
    ['controlplane', 'reachability'],
  ],
  [
    ['controlPlane.enabled=true', 'controlPlane.reachability=gate'],
    ['controlplane', 'reachability', 'reachability-gate'],
  ],
  [
    ['controlPlane.enabled=true', 'services=all', 'apiServer.host=192.0.2.1', 'prometheus=true'],
    ['controlplane', 'kube-proxy-free', 'prometheus'],
  ],
  [['certManager=true'], ['cert-manager']],
  [
    ['handOver=opa', 'certManager=true'],
    ['opa', 'cert-manager'],
  ],
  [
    ['clientAddress=preserve', 'proxyMode=iptables', 'services=all', 'apiServer.host=192.0.2.1', 'prometheus=true'],
    ['client-address', 'iptables', 'kube-proxy-free', 'prometheus'],
  ],
] as const) {
  test(
    `with ${values.join(', ') || 'its defaults'} the chart makes what Kustomize makes of ${['default', ...components].join(' + ')}`,
    options,
    async () => {
      const wanted = await render('default', ...components.map(name => `components/${name}`))
      assert.deepEqual(
        comparable(await template(...values)),
        comparable(wanted as unknown as readonly KubernetesObject[]),
      )
    },
  )
}

test('with control planes for each zone the chart makes what docs/scale.md does with Kustomize', options, async () => {
  const wanted = await withFiles(await filesOfZones(['a', 'b']), objectsOf)
  const values = await template('controlPlane.enabled=true', 'controlPlane.zones={a,b}')
  assert.deepEqual(comparable(values), comparable(wanted as unknown as readonly KubernetesObject[]))
})

test(
  'values of its own reach the pods: images, pull secrets, flags, resources, the address of the API server',
  options,
  async () => {
    const objects = await template(
      'images.agent.repository=example/lightpath,images.proxy.tag=1.2.3,imagePullSecrets={mine}',
      'services=all,apiServer.host=192.0.2.1,apiServer.port=443,handOver=none',
      'controlPlane.enabled=true,controlPlane.resources.limits.memory=2Gi',
      'agent.extraArgs={--cluster-cidr=10.1.0.0/16},agent.resources.requests.cpu=1,proxy.concurrency=4',
    )
    const text = JSON.stringify(objects)
    const images = new Set([...text.matchAll(/"image":"([^"]*)"/g)].map(([, image]) => image))
    assert.deepEqual(images, new Set([`example/lightpath:${packageJson.version}`, 'localhost/lightpath-proxy:1.2.3']))
    assert.equal(text.match(/"imagePullSecrets":\[\{"name":"mine"\}\]/g)?.length, 3)
    assert.match(text, /"resources":\{"limits":\{"memory":"2Gi"\}\}/)
    assert.match(text, /"args":\[[^\]]*"--services=all",[^\]]*"--cluster-cidr=10\.1\.0\.0\/16"\]/)
    assert.match(text, /"resources":\{"requests":\{"cpu":1\}\}/)
    assert.match(text, /"--concurrency","4"/)
    assert.match(text, /"data":\{"host":"192\.0\.2\.1","port":"443"\}/)
    assert.doesNotMatch(text, /MutatingWebhookConfiguration|lightpath-webhook/)
  },
)

for (const [value, says] of [
  ['services=some', /services.*labelled/s],
  ['services=all', /apiServer\/host/],
  ['handOver=magic', /handOver/],
  ['serivces=all', /additional properties 'serivces' not allowed/],
  ['agent.extraArgs={cluster-cidr}', /extraArgs/],
  ['controlPlane.zones={Zone_A}', /zones/],
  ['controlPlane.reachability=yes', /reachability/],
] as const) {
  test(`refuses ${value}, and says what is wrong`, options, () => assert.rejects(template(value), says))
}

test('refuses another namespace than the one that its objects name', options, () =>
  assert.rejects(helm('template', 'lightpath', chart, '--namespace', 'mine'), /lightpath-system, not in mine/),
)

test('is installed, upgraded and listed by Helm with a real API server', options, async () => {
  const kubeconfig = ['--kubeconfig', server.kubeconfig('admin', `token: ${adminToken}`)]
  const onServer = (...args: readonly string[]) => helm(...args, ...kubeconfig, ...namespaced)
  const daemonSets = () => kubectl(...kubeconfig, ...namespaced, 'get', 'daemonsets', '-o', 'yaml')
  const notes = await onServer('install', 'lightpath', chart, '--create-namespace')
  assert.match(notes, /runs beside kube-proxy/)
  assert.match(await daemonSets(), /- --services=labelled/)
  const handOver = noAdmissionPolicies === undefined ? 'admission-policy' : 'none'
  const values = ['services=all', 'apiServer.host=192.0.2.1', `handOver=${handOver}`].flatMap(value => ['--set', value])
  assert.match(await onServer('upgrade', 'lightpath', chart, ...values), /in place of kube-proxy/)
  assert.match(await daemonSets(), /- --services=all/)
  const webhooks = await kubectl(...kubeconfig, 'get', 'mutatingwebhookconfigurations', '-o', 'name')
  assert.equal(webhooks, '')
  assert.match(await onServer('list'), new RegExp(`lightpath\\s.*\\s2\\s.*deployed\\s.*${packageJson.version}`))
})

test("chart, images and archives have package.json's version, which is the one place to change it", () => {
  const { version, appVersion } = parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8'))
  assert.deepEqual([version, appVersion], [packageJson.version, packageJson.version])
  for (const kustomization of ['default', 'cleanup']) {
    const file = join(chart, '..', kustomization, 'kustomization.yaml')
    const { images } = parse(readFileSync(file, 'utf8')) as { readonly images: readonly { readonly newTag: string }[] }
    for (const { newTag } of images) assert.equal(newTag, packageJson.version, file)
  }
})
