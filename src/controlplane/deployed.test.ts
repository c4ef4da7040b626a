/** deploy/components/controlplane fits what the programs expect of it. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Command } from 'commander'
import { parse, parseAllDocuments } from 'yaml'
import { addOptions, readConfig } from '../commands/config.ts'
import { definitions, type OptionName } from '../commands/options.ts'
import { factsAccess } from './admission.ts'

const deploy = new URL('../../deploy/', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, deploy), 'utf8')

interface Rule {
  readonly apiGroups?: readonly string[]
  readonly resources?: readonly string[]
  readonly nonResourceURLs?: readonly string[]
  readonly verbs: readonly string[]
}

function rulesOf(path: string, name: string, kind = 'ClusterRole'): readonly Rule[] {
  const objects = parseAllDocuments(read(path)).map(document => document.toJS())
  return objects.find(object => object.kind === kind && object.metadata.name === name).rules
}

/** Such as `discovery.k8s.io/endpointslices list`. */
function rights(rules: readonly Rule[]): Set<string> {
  const all = rules.flatMap(({ apiGroups = [], resources = [], verbs }) =>
    apiGroups.flatMap(group => resources.flatMap(resource => verbs.map(verb => `${group}/${resource} ${verb}`))),
  )
  return new Set(all)
}

const access = 'components/controlplane/access.yaml'

test('a control plane has the rights of an agent, and changes nothing but its own two objects', () => {
  const agent = rights(rulesOf('node/access.yaml', 'lightpath-node'))
  const own = rights(rulesOf(access, 'lightpath-controlplane'))
  assert.deepEqual([...own].sort(), [...agent].sort())
  const inNamespace = rights(rulesOf(access, 'lightpath-controlplane', 'Role'))
  const of = (resource: string, verbs: readonly string[]) => verbs.map(verb => `/${resource} ${verb}`)
  assert.deepEqual(
    [...inNamespace].sort(),
    [...of('configmaps', ['create', 'get', 'update']), ...of('secrets', ['create', 'get', 'update'])].sort(),
  )
  for (const { verbs, resourceNames } of rulesOf(access, 'lightpath-controlplane', 'Role') as readonly (Rule & {
    readonly resourceNames?: readonly string[]
  })[]) {
    assert.equal(resourceNames?.length, verbs.includes('create') ? undefined : 1)
  }
})

test('what tells Kubernetes of Pods writes their status, and runs with the control plane of each zone', () => {
  const own = rights(rulesOf('components/reachability/access.yaml', 'lightpath-reachability'))
  assert.deepEqual([...own], ['/pods/status patch'])
  const { patches } = parse(read('components/reachability/kustomization.yaml'))
  const [deployment] = parseAllDocuments(read('components/controlplane/replicas/deployment.yaml'))
  const [key, label] = patches[0].target.labelSelector.split('=')
  assert.equal(deployment!.toJS().metadata.labels[key], label)
  const [{ path, value }] = parse(patches[0].patch)
  assert.equal(path, '/spec/template/spec/containers/0/args/-')
  assert.equal(configOf([value]).maxUnready, 50)
})

test('agents may have the facts, and no other path', () => {
  assert.deepEqual(rulesOf(access, 'lightpath-facts'), [{ nonResourceURLs: [factsAccess.path], verbs: ['get'] }])
})

interface AgentPatch {
  readonly path: string
  readonly value: string & {
    readonly mountPath: string
    readonly projected: {
      readonly sources: readonly {
        readonly serviceAccountToken?: { readonly audience: string; readonly path: string }
        readonly configMap?: { readonly name: string }
      }[]
    }
  }
}

test('agents find the Service, the authority and a token where they look for them', () => {
  const patches: readonly AgentPatch[] = parse(read('components/controlplane/agent.yaml'))
  const valuesAt = (path: string) => patches.filter(patch => patch.path.endsWith(path)).map(({ value }) => value)
  const { controlPlaneService, controlPlaneToken, controlPlaneAuthority } = configOf(valuesAt('/args/-'))
  const { namespace, name } = parse(read('components/controlplane/service.yaml')).metadata
  assert.deepEqual(controlPlaneService, { namespace, name })
  const { mountPath } = valuesAt('/volumeMounts/-')[0]!
  const [token, authority] = valuesAt('/volumes/-')[0]!.projected.sources
  assert.equal(controlPlaneToken, `${mountPath}/${token!.serviceAccountToken!.path}`)
  assert.equal(token!.serviceAccountToken!.audience, factsAccess.audience)
  assert.equal(controlPlaneAuthority, `${mountPath}/ca.crt`)
  assert.match(read(access), new RegExp(`resourceNames: \\[${authority!.configMap!.name}\\]`))
})

test('a control plane listens where its Service and its probes lead', () => {
  const [deployment] = parseAllDocuments(read('components/controlplane/replicas/deployment.yaml'))
  const [container] = deployment!.toJS().spec.template.spec.containers
  const [, ...args] = container.args.map((text: string) => text.replace('$(POD_IP)', '10.0.0.1'))
  const { controlPlaneAddress, metricsPort } = configOf(args)
  assert.deepEqual(container.ports, [
    { name: 'facts', containerPort: controlPlaneAddress.port },
    { name: 'metrics', containerPort: metricsPort },
  ])
  const [{ name, targetPort }] = parse(read('components/controlplane/service.yaml')).spec.ports
  assert.deepEqual([name, targetPort], ['facts', 'facts'])
})

function configOf(args: readonly string[]) {
  const command = addOptions(new Command(), Object.keys(definitions) as OptionName[])
  return readConfig(command.parse([...args], { from: 'user' }))
}
