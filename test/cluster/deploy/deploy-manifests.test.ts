/** What everybody who applies deploy/ relies on, whatever the cluster. */

import assert from 'node:assert/strict'
import { dirname } from 'node:path'
import { after, before, test } from 'node:test'
import packageJson from '../../../package.json' with { type: 'json' }
import { definitions } from '../../../src/commands/options.ts'
import { ApiServerProcess, adminToken, noAdmissionPolicies, noApiServer, noKubectl } from '../apiserver.ts'
import { kubectl, render, withKustomization } from './kustomize.ts'

interface Container {
  readonly name: string
  readonly image: string
  readonly imagePullPolicy: string
  readonly ports?: readonly unknown[]
  readonly env?: readonly { readonly name: string; readonly valueFrom?: { readonly fieldRef?: object } }[]
  readonly envFrom?: readonly unknown[]
  readonly resources?: Readonly<Partial<Record<'requests' | 'limits', Readonly<Record<string, string>>>>>
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
  readonly securityContext: {
    readonly runAsUser?: number
    readonly privileged?: boolean
    readonly readOnlyRootFilesystem?: boolean
    readonly allowPrivilegeEscalation?: boolean
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] }
  }
}

interface PodSpec {
  readonly securityContext: { readonly runAsUser?: number; readonly supplementalGroups?: readonly number[] }
  readonly volumes?: readonly {
    readonly name: string
    readonly hostPath?: { readonly path: string; readonly type: string }
  }[]
  readonly hostNetwork?: boolean
  readonly initContainers?: readonly Container[]
  readonly containers: readonly Container[]
}

interface Rule {
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
}

const options = { skip: noApiServer ?? noKubectl, timeout: 120_000 }
const server = new ApiServerProcess()
const all = ['client-address', 'controlplane', 'kube-proxy-free', 'prometheus'].map(name => `components/${name}`)

before(async () => {
  if (options.skip !== undefined) return
  await server.start()
  await server.makeNamespaces({ 'lightpath-system': {}, 'lightpath-cleanup': {} })
})

after(() => server.stop())

for (const [resource, ...components] of [
  ['default'],
  ['default', 'components/client-address', 'components/kube-proxy-free'],
  ['default', 'components/iptables'],
  ['default', 'components/controlplane'],
  ...(noAdmissionPolicies === undefined
    ? [['default', ...['controlplane', 'reachability', 'reachability-gate'].map(name => `components/${name}`)]]
    : []),
  ['cleanup'],
]) {
  test(
    `the API server accepts deploy/${[resource, ...components].join(' + ')} without a warning`,
    options,
    async () => {
      const admin = ['--kubeconfig', server.kubeconfig('admin', `token: ${adminToken}`)]
      const apply = [...admin, 'apply', '--server-side', '--dry-run=server', '-k']
      assert.match(
        await withKustomization(resource!, components, directory => kubectl(...apply, directory)),
        /daemonset/,
      )
    },
  )
}

test('where kinds of a component are missing, kubectl says so before it applies anything', options, async () => {
  const admin = ['--kubeconfig', server.kubeconfig('admin', `token: ${adminToken}`)]
  const look = (directory: string) => kubectl(...admin, 'apply', '--dry-run=client', '-k', directory)
  await assert.rejects(
    withKustomization('default', ['components/prometheus'], look),
    /no matches for kind "ServiceMonitor"/,
  )
})

/** Of everything that can be deployed. */
async function pods(): Promise<readonly { readonly name: string; readonly spec: PodSpec }[]> {
  const objects = [...(await render('default', ...all)), ...(await render('cleanup'))]
  return objects.flatMap(({ metadata, spec }) =>
    spec?.template?.spec ? [{ name: metadata.name, spec: spec.template.spec }] : [],
  )
}

test('all images come by two names, one tag, and no registry that there is not', options, async () => {
  const containers = (await pods()).flatMap(({ spec }) => [...(spec.initContainers ?? []), ...spec.containers])
  const tag = packageJson.version
  const known = [`localhost/lightpath:${tag}`, `localhost/lightpath-proxy:${tag}`]
  assert.deepEqual([...new Set(containers.map(({ image }) => image))].sort(), known.sort())
  assert.ok(containers.every(({ imagePullPolicy }) => imagePullPolicy === 'IfNotPresent'))
})

/** Of what tenants fill. Envoy's heap is 2 GiB, at which it has ended what it can (envoy/bootstrap/overload.ts), and a quarter. */
const memoryLimits: Readonly<Record<string, string>> = { node: '2Gi', envoy: '2560Mi' }

test(
  'containers drop all capabilities, cannot write to their file systems, and say what they need',
  options,
  async () => {
    for (const { name, spec } of await pods()) {
      for (const { name: container, securityContext, resources } of spec.containers) {
        const where = `${name}/${container}`
        assert.deepEqual(securityContext.capabilities?.drop, ['ALL'], where)
        assert.ok(!securityContext.privileged, where)
        // Envoy's capability comes from its file, which a process that may gain no privileges does not get.
        assert.equal(securityContext.allowPrivilegeEscalation, container === 'envoy', where)
        assert.deepEqual(securityContext.capabilities.add ?? ['NET_ADMIN'], ['NET_ADMIN'], where)
        assert.ok(resources?.requests?.cpu && resources.requests.memory, where)
        if (container in memoryLimits) assert.equal(resources.limits?.memory, memoryLimits[container], where)
      }
      for (const { name: container, securityContext } of [...(spec.initContainers ?? []), ...spec.containers]) {
        assert.equal(securityContext.readOnlyRootFilesystem, true, `${name}/${container}`)
      }
    }
  },
)

test(
  "pods on the node's network declare no ports, so that none keeps another from being scheduled",
  options,
  async () => {
    const onNode = (await pods()).filter(({ spec }) => spec.hostNetwork)
    assert.deepEqual(onNode.map(({ name }) => name).sort(), ['lightpath-cleanup', 'lightpath-node', 'lightpath-proxy'])
    for (const { name, spec } of onNode) {
      for (const { ports } of spec.containers) assert.equal(ports, undefined, name)
    }
  },
)

test(
  'of the host Envoy has the directory of the sockets alone, and the agent is in the group of its user',
  options,
  async () => {
    const specs = new Map((await pods()).map(({ name, spec }) => [name, spec]))
    const [node, proxy] = [specs.get('lightpath-node')!, specs.get('lightpath-proxy')!]
    const [directory, user] = [definitions.envoySockets.default, definitions.envoyUser.default]
    assert.equal(proxy.securityContext.runAsUser, user)
    assert.ok(node.securityContext.supplementalGroups?.includes(user))
    const onHost = (spec: PodSpec) => (spec.volumes ?? []).flatMap(({ hostPath }) => hostPath ?? [])
    assert.deepEqual(onHost(proxy), [{ path: directory, type: 'DirectoryOrCreate' }])
    assert.deepEqual(onHost(node), [{ path: dirname(directory), type: 'DirectoryOrCreate' }])
    for (const { volumeMounts, securityContext } of proxy.initContainers!) {
      assert.ok(volumeMounts?.some(({ mountPath }) => mountPath === directory))
      assert.deepEqual(securityContext.capabilities, { drop: ['ALL'] })
    }
  },
)

test(
  'a container can be started again without the API server, which kubelets ask for an environment',
  options,
  async () => {
    for (const { name, spec } of await pods()) {
      for (const { env = [], envFrom = [] } of spec.containers) {
        const asked = env.filter(({ valueFrom }) => valueFrom && !valueFrom.fieldRef)
        assert.deepEqual([...asked, ...envFrom], [], name)
      }
    }
  },
)

test('the agent may write Events, ask who reads metrics, and change nothing else', options, async () => {
  const roles = (await render('node')).filter(({ kind }) => kind === 'ClusterRole')
  const rules: readonly Rule[] = roles.flatMap(role => (role as unknown as { rules: readonly Rule[] }).rules)
  const writing = rules.filter(({ verbs }) => verbs.some(verb => !['get', 'list', 'watch'].includes(verb)))
  assert.deepEqual(
    writing.map(({ resources, verbs }) => [resources, verbs]),
    ['events', 'tokenreviews', 'subjectaccessreviews'].map(resource => [[resource], ['create']]),
  )
})
