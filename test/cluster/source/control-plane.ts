import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { startControlPlane } from '../../../src/controlplane/server.ts'
import { controlPlaneSource } from '../../../src/sources/controlplane/controlplane.ts'
import { hostAddresses } from '../../../src/sources/controlplane/replicas/addresses.ts'
import { kubernetesSource } from '../../../src/sources/kubernetes.ts'
import { RecordingListener, silentLog, until } from '../../../src/sources/testing.ts'
import { adminToken } from '../apiserver.ts'
import { follow, options, server, service, services, slice, slices } from './lab.ts'

const own = 'node1'
const pods = '/api/v1/namespaces/default/pods'

const pod = (name: string, nodeName: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: name } },
  spec: { nodeName, containers: [{ name: 'web', image: 'web' }], automountServiceAccountToken: false },
})

test(
  'an agent has the same from a control plane as from the API server, over all moves between them',
  options,
  async t => {
    const direct = await follow(t)
    const kubeconfig = server.kubeconfig('control-plane', `token: ${adminToken}`)
    const replica = async (port = 0) => {
      const controlPlane = await startControlPlane({ address: { address: '127.0.0.1', port }, log: silentLog })
      const source = kubernetesSource({ kubeconfig, log: silentLog })
      await source.start(controlPlane.knowledge)
      const stop = async () => {
        await source.stop()
        await controlPlane.stop()
      }
      t.after(stop)
      return { port: controlPlane.port, stop }
    }
    const [first, second] = [await replica(), await replica()]
    const hosts = [first, second].map(({ port }) => ({ host: '127.0.0.1', port }))
    const source = controlPlaneSource({
      findReplicas: hostAddresses(hosts, false),
      nodeName: own,
      direct: () => kubernetesSource({ kubeconfig, nodeName: own, log: silentLog }),
      patienceMs: 200,
      log: silentLog,
    })
    t.after(() => source.stop())
    const listener = new RecordingListener()
    await source.start(listener)

    const agrees = async (what: string) => {
      const there = direct.listener.objects
      const isSame = () =>
        listener.objects.size === there.size &&
        [...there].every(([key, object]) => isDeepStrictEqual(listener.objects.get(key), object))
      const names = () =>
        [listener, direct.listener].map(({ objects }) => [...objects.keys()].sort().join()).join(' and ')
      await until(isSame, () => `${what}: ${names()}`, 30_000)
      assert.deepEqual([listener.phantoms, listener.timesSynced], [[], 1])
    }

    // Pods need both, and nobody else makes them here; there may be those of another test.
    await server.ask('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } })
    await server.ask('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: own } })
    await server.must('POST', services, service('moves'))
    await server.must('POST', slices, slice('moves', '10.0.0.1'))
    for (const [i, node] of [own, 'node2'].entries()) {
      await server.must('POST', pods, pod(`moves-${node}`, node))
      const podIP = `10.0.0.${i + 1}`
      const status = { phase: 'Running', podIP, podIPs: [{ ip: podIP }] }
      await server.must('PATCH', `${pods}/moves-${node}/status`, { status })
    }
    for (const one of [direct.source, source]) one.needPods!(new Set(['default']))
    await direct.shows('moves', 80)
    await agrees('two replicas')
    await first.stop()
    await server.must('PATCH', `${slices}/moves`, { endpoints: [{ addresses: ['10.0.0.2'] }] })
    await agrees('one replica')
    await second.stop()
    await server.must('DELETE', `${slices}/moves`)
    await server.must('POST', slices, slice('moves-2', '10.0.0.3'))
    await agrees('the API server')
    await replica(first.port)
    await server.must('DELETE', `${services}/moves`)
    await server.must('DELETE', `${pods}/moves-node2?gracePeriodSeconds=0`)
    await direct.shows('moves', undefined)
    await agrees('a replica that is new')
  },
)
