import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { anEndpoint, aService, aSlice, put } from '../../services/testing.ts'
import { TestPlan } from '../testing.ts'
import { healthChecksOf } from './healthcheck.ts'

const balanced = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32000 } as const
const local = (ip: string, fields = {}) => anEndpoint(ip, { nodeName: 'node1', ...fields })
const here = (service = aService(balanced), slices = [aSlice([local('10.244.1.2')])]) =>
  healthChecksOf(service, slices, 'node1')
const counts = (...slices: Parameters<typeof aSlice>[]) =>
  here(
    aService({ ...balanced, clusterIPs: ['10.96.0.10', 'fd00:96::a'] }),
    slices.map(slice => aSlice(...slice)),
  ).map(({ localEndpoints }) => localEndpoints)

describe('a health check', () => {
  test('is for load balancers whose Service has externalTrafficPolicy Local', () => {
    assert.deepEqual(here(), [{ namespace: 'whoami', name: 'whoami', family: 'IPv4', port: 32000, localEndpoints: 1 }])
    assert.deepEqual(here(aService({ ...balanced, type: 'NodePort' })), [])
    assert.deepEqual(here(aService({ ...balanced, externalTrafficPolicy: 'Cluster' })), [])
    assert.deepEqual(here(aService({ ...balanced, healthCheckNodePort: undefined })), [])
  })

  test('counts each address on this node once, whatever its ports and slices', () => {
    const two = [
      { name: 'http', protocol: 'TCP', port: 8080 },
      { name: 'https', protocol: 'TCP', port: 8443 },
    ] as const
    const pods = [local('10.244.1.2'), local('10.244.1.3'), anEndpoint('10.244.2.2', { nodeName: 'node2' })]
    assert.deepEqual(counts([pods, { ports: two }], [[local('10.244.1.2')], { name: 'again' }]), [2, 0])
  })

  test('counts ready endpoints only: not those that terminate though they still serve', () => {
    const terminating = local('10.244.1.3', { ready: false, terminating: true })
    assert.deepEqual(counts([[terminating, local('10.244.1.4', { ready: false, serving: false })]]), [0, 0])
  })

  test('counts the endpoints of its own family', () => {
    const six = [local('fd00:244:1::2'), local('fd00:244:1::3')]
    assert.deepEqual(counts([[local('10.244.1.2')]], [six, { name: 'six', family: 'IPv6' }]), [1, 2])
  })

  test('counts no endpoints of a slice without ports', () => {
    assert.deepEqual(counts([[local('10.244.1.2')], { ports: [] }]), [0, 0])
  })
})

describe('the health checks that the plan has', () => {
  const told = (plan: TestPlan, ...changes: Parameters<TestPlan['tell']>[0]) =>
    [...plan.tell(changes).healthChecks].map(([service, checks]) => [
      service,
      ...checks.map(({ localEndpoints }) => localEndpoints),
    ])

  test('follow the Service and its slices, and are none of a Service that has none', () => {
    const plan = new TestPlan()
    assert.deepEqual(told(plan, put(aService({ name: 'plain' }))), [])
    assert.deepEqual(told(plan, put(aService(balanced))), [['whoami/whoami', 0]])
    assert.deepEqual(told(plan, put(aSlice([local('10.244.1.2')]))), [['whoami/whoami', 1]])
    assert.deepEqual(told(plan, put(aService())), [['whoami/whoami']])
    assert.deepEqual(told(plan, put(aService({ created: 1 }))), [])
  })

  test('are none of a Service that another proxy serves', () => {
    const labels = { 'service.kubernetes.io/service-proxy-name': 'other' }
    assert.deepEqual(told(new TestPlan(), put(aService({ ...balanced, labels }))), [])
  })
})
