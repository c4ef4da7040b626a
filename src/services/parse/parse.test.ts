import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { EndpointSlice } from '../objects/endpointslice.ts'
import type { Service } from '../objects/service.ts'
import { listItems, parseObject } from './parse.ts'

interface Case {
  readonly title: string
  readonly raw: unknown
  /** What the parsed object contains; undefined for no object. */
  readonly object?: Readonly<Record<string, unknown>>
  /** One pattern a problem, against `code object: reason; remedy`. */
  readonly problems?: readonly RegExp[]
  readonly ignored?: RegExp
}

const service = (spec: unknown, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'shop', name: 'cart', ...metadata },
  spec,
})

const slice = (fields: object, metadata: object = {}) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { namespace: 'shop', name: 'cart-1', labels: { 'kubernetes.io/service-name': 'cart' }, ...metadata },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  ...fields,
})

const endpoints = (...raw: readonly object[]) => slice({ endpoints: raw })
const nowhere = { nodeName: undefined, zone: undefined, isPod: false }
const servesAlways = { ready: true, serving: true, terminating: false, ...nowhere }

const services: readonly Case[] = [
  {
    title: 'a Service keeps what a node uses of it',
    raw: service(
      {
        type: 'LoadBalancer',
        clusterIP: '10.0.0.1',
        clusterIPs: ['10.0.0.1', 'FD00:0::1'],
        selector: { app: 'cart' },
        sessionAffinity: 'ClientIP',
        internalTrafficPolicy: 'Local',
        ports: [{ name: 'http', port: 80, targetPort: 'web', nodePort: 30080, appProtocol: 'kubernetes.io/h2c' }],
      },
      {
        labels: { app: 'cart', 'lightpath.cloud/proxy': 'disabled' },
        annotations: { 'config.lightpath.cloud/http-num-retries': '3', other: 'x' },
        creationTimestamp: '2024-05-01T12:00:00Z',
      },
    ),
    object: {
      kind: 'Service',
      namespace: 'shop',
      name: 'cart',
      labels: { 'lightpath.cloud/proxy': 'disabled' },
      annotations: { 'config.lightpath.cloud/http-num-retries': '3' },
      type: 'LoadBalancer',
      clusterIPs: ['10.0.0.1', 'fd00::1'],
      ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 30080, appProtocol: 'kubernetes.io/h2c' }],
      sessionAffinity: 'ClientIP',
      internalTrafficPolicy: 'Local',
      created: Date.UTC(2024, 4, 1, 12),
    },
  },
  {
    title: 'a Service of which nothing is said but its name has the defaults of Kubernetes',
    raw: { apiVersion: 'v1', kind: 'Service', metadata: { name: 'cart', creationTimestamp: null } },
    object: {
      namespace: 'default',
      type: 'ClusterIP',
      clusterIPs: [],
      ports: [],
      sessionAffinity: 'None',
      affinitySeconds: 10_800,
      internalTrafficPolicy: 'Cluster',
      externalTrafficPolicy: 'Cluster',
      externalIPs: [],
      loadBalancerIPs: [],
      loadBalancerSourceRanges: [],
      healthCheckNodePort: undefined,
      labels: {},
      annotations: {},
      created: Number.MAX_SAFE_INTEGER,
    },
  },
  {
    title: 'a headless Service has no cluster IP',
    raw: service({ clusterIP: 'None', clusterIPs: ['None'], ports: [{ port: 80 }] }),
    object: { clusterIPs: [], ports: [{ name: '', protocol: 'TCP', port: 80 }] },
  },
  {
    title: 'an ExternalName Service has no cluster IP, whatever stands there',
    raw: service({ type: 'ExternalName', externalName: 'example.org', clusterIP: '10.0.0.1' }),
    object: { type: 'ExternalName', clusterIPs: [] },
  },
  {
    title: 'a manifest that gives clusterIP only has that address',
    raw: service({ clusterIP: '10.0.0.1', ports: [{ port: 53, protocol: 'UDP' }] }),
    object: { clusterIPs: ['10.0.0.1'], ports: [{ name: '', protocol: 'UDP', port: 53 }] },
  },
  {
    title: 'where clusterIP and clusterIPs differ, clusterIPs applies and the difference is told',
    raw: service({ clusterIP: '10.0.0.2', clusterIPs: ['10.0.0.1'] }),
    object: { clusterIPs: ['10.0.0.1'] },
    problems: [/LP102 Service shop\/cart: spec.clusterIP "10.0.0.2" is not the first.*clusterIPs applies/],
  },
  {
    title: 'a second cluster IP of a family is left out',
    raw: service({ clusterIPs: ['10.0.0.1', '10.0.0.2', 'fd00::1'] }),
    object: { clusterIPs: ['10.0.0.1', 'fd00::1'] },
    problems: [/10.0.0.2 is the second of its family/],
  },
  ...['10.0.0.256', '10.0.0.1/24', 'cart', 5].map(clusterIP => ({
    title: `clusterIP ${clusterIP} is left out`,
    raw: service({ clusterIP }),
    object: { clusterIPs: [] },
    problems: [/LP102 Service shop\/cart: spec.clusterIP "?(10|cart|5).* is no IP address; the address is left out/],
  })),
  ...['0.0.0.0', '::', '127.0.0.1', '::1', '224.0.0.1', 'ff02::1', '::ffff:127.0.0.1'].map(clusterIP => ({
    title: `clusterIP ${clusterIP} is left out, since a node's own traffic goes there`,
    raw: service({ clusterIP }),
    object: { clusterIPs: [] },
    problems: [/is (the unspecified|a loopback|a multicast) address/],
  })),
  {
    title: 'addresses that are link-local are VIPs and load balancer IPs, and no external IPs',
    raw: {
      ...service({ clusterIPs: ['169.254.20.10', 'fe80::1'], externalIPs: ['169.254.169.254', 'fe80::2'] }),
      status: { loadBalancer: { ingress: [{ ip: '169.254.20.11' }, { ip: 'fe80::3' }] } },
    },
    object: {
      clusterIPs: ['169.254.20.10', 'fe80::1'],
      externalIPs: [],
      loadBalancerIPs: ['169.254.20.11', 'fe80::3'],
    },
    problems: [/169.254.169.254 is a link-local address/, /fe80::2 is a link-local address/],
  },
  {
    title: 'old spellings of addresses and ranges are read as by kube-proxy',
    raw: {
      ...service({
        clusterIPs: ['10.96.002.005', 'FD00::0A'],
        externalIPs: ['::ffff:192.0.2.1', '192.000.002.009'],
        loadBalancerSourceRanges: ['192.000.002.000/24', ' 010.0.0.0/08'],
      }),
      status: { loadBalancer: { ingress: [{ ip: '198.051.100.007' }] } },
    },
    object: {
      clusterIPs: ['10.96.2.5', 'fd00::a'],
      externalIPs: ['192.0.2.1', '192.0.2.9'],
      loadBalancerIPs: ['198.51.100.7'],
      loadBalancerSourceRanges: ['10.0.0.0/8', '192.0.2.0/24'],
    },
  },
  {
    title: 'a Service with a VIP and the label service.kubernetes.io/headless keeps its VIP',
    raw: service({ clusterIP: '10.0.0.1' }, { labels: { 'service.kubernetes.io/headless': '' } }),
    object: { clusterIPs: ['10.0.0.1'], labels: {} },
  },
  ...[0, 65536, -1, 1.5, '80', null].map(port => ({
    title: `port ${JSON.stringify(port)} is left out, and the others stay`,
    raw: service({ ports: [{ name: 'bad', port }, { name: 'good', port: 80 }] }), // biome-ignore format: one line
    object: { ports: [{ name: 'good', protocol: 'TCP', port: 80 }] },
    problems: [
      /LP212 Service shop\/cart: spec.ports\[0\].port (\S+ is no port|is missing); this port is left out; write 1 to 65535/,
    ],
  })),
  {
    title: 'a port of an unknown protocol, of a bad name, or a duplicate is left out, each with its reason',
    raw: service({
      ports: [
        { name: 'dns', port: 53, protocol: 'udp' },
        { name: 'Bad_Name', port: 81 },
        { name: 'http', port: 80 },
        { name: 'http', port: 82 },
        { name: 'again', port: 80, protocol: 'TCP' },
        { name: 'h3', port: 80, protocol: 'UDP' },
        'port',
      ],
    }),
    object: {
      ports: [
        { name: 'http', protocol: 'TCP', port: 80 },
        { name: 'h3', protocol: 'UDP', port: 80 },
      ],
    },
    problems: [
      /LP212 .*spec.ports\[0\].protocol "udp" is unknown/,
      /LP212 .*spec.ports\[1\].name "Bad_Name" is no name/,
      /LP212 .*spec.ports\[3\]: the name "http" is there twice; the first applies/,
      /LP212 .*spec.ports\[4\]: 80\/TCP is there twice/,
      /LP212 .*spec.ports\[6\].port is missing/,
    ],
  },
  {
    title: 'unknown words for type, affinity and policy are told, and the default applies',
    raw: service({ type: 'Cluster', sessionAffinity: 'Cookie', internalTrafficPolicy: 7 }),
    object: { type: 'ClusterIP', sessionAffinity: 'None', internalTrafficPolicy: 'Cluster' },
    problems: [/spec.type "Cluster" is unknown; ClusterIP applies/, /sessionAffinity "Cookie"/, /TrafficPolicy 7/],
  },
  {
    title: 'a Service keeps how it is reached from outside',
    raw: {
      ...service({
        externalIPs: ['192.0.2.1', 'FD00:0::1', '192.0.2.1'],
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: 31000,
        loadBalancerSourceRanges: ['10.0.0.0/8', ' fd00:0::/16 '],
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
      }),
      status: { loadBalancer: { ingress: [{ ip: '192.0.2.2' }, { ip: 'FD00::2', ipMode: 'VIP' }] } },
    },
    object: {
      externalIPs: ['192.0.2.1', 'fd00::1'],
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 31000,
      loadBalancerSourceRanges: ['10.0.0.0/8', 'fd00::/16'],
      loadBalancerIPs: ['192.0.2.2', 'fd00::2'],
      affinitySeconds: 60,
    },
  },
  {
    title: 'a load balancer that is a proxy, or that has a host name only, gives no address',
    raw: {
      ...service({}),
      status: { loadBalancer: { ingress: [{ ip: '192.0.2.2', ipMode: 'Proxy' }, { hostname: 'lb.example.org' }] } },
    },
    object: { loadBalancerIPs: [] },
  },
  ...['10.0.0.0', '10.0.0.0/33', 'fd00::/129', '/8', '10.0.0/8', 'all', 5].map(range => ({
    title: `a source range ${range} admits nobody: the load balancer's address of its family is not served`,
    raw: {
      ...service({ loadBalancerSourceRanges: [range, 'fd00::/8'] }),
      status: { loadBalancer: { ingress: [{ ip: '192.0.2.2' }, { ip: 'fd00::2' }] } },
    },
    object: { loadBalancerSourceRanges: ['fd00::/8'], loadBalancerIPs: ['fd00::2'] },
    problems: [/LP213 Service shop\/cart: spec.loadBalancerSourceRanges: .* is no CIDR; it admits nobody/],
  })),
  {
    title: 'addresses and node ports that are none are left out, and the port stays',
    raw: service({
      externalIPs: ['127.0.0.1', 'x', '192.0.2.1'],
      healthCheckNodePort: 0,
      ports: [{ port: 80, nodePort: 70000 }],
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 0 } },
    }),
    object: {
      externalIPs: ['192.0.2.1'],
      healthCheckNodePort: undefined,
      ports: [{ name: '', protocol: 'TCP', port: 80 }],
      affinitySeconds: 10_800,
    },
    problems: [
      /LP213 .*spec.ports\[0\].nodePort 70000 is no port/,
      /LP102 .*timeoutSeconds 0 is no number of seconds; 10800 applies/,
      /LP213 .*spec.externalIPs: 127.0.0.1 is a loopback address/,
      /LP213 .*spec.externalIPs: "x" is no IP address/,
    ],
  },
  {
    title: 'an annotation or label that YAML made a number or a boolean is told, and left out',
    raw: service(
      {},
      {
        annotations: { 'config.lightpath.cloud/http-num-retries': 3 },
        labels: { 'lightpath.cloud/proxy': false, other: 1 },
      },
    ),
    object: { annotations: {}, labels: {} },
    problems: [
      /LP102 .*label lightpath.cloud\/proxy: false is no text.*in quotes/,
      /LP202 .*annotation config.lightpath.cloud\/http-num-retries: 3 is no text/,
    ],
  },
  {
    title: 'a name with every legal character is a name',
    raw: service({}, { name: 'a0-9z', namespace: '0a-b9' }),
    object: { namespace: '0a-b9', name: 'a0-9z' },
  },
  {
    title: 'an object without a name, with an illegal one or in an illegal namespace is left out',
    raw: service({}, { name: undefined }),
    problems: [/LP102 Service in a\.yaml:3: metadata.name is missing/],
  },
  ...['Cart', '-cart', 'a/b', '..', 'a b', 'x'.repeat(64)].map(name => ({
    title: `a Service cannot be called ${name}`,
    raw: service({}, { name }),
    problems: [/LP102 Service in a\.yaml:3: metadata.name .* is not allowed; it is left out; use lower-case/],
  })),
  {
    title: 'a Service in something that is no namespace is left out',
    raw: service({}, { namespace: 7 }),
    problems: [/LP102 Service cart in a\.yaml:3: metadata.namespace 7/],
  },
]

const slices: readonly Case[] = [
  {
    title: 'an EndpointSlice keeps addresses, conditions, place and hints',
    raw: slice(
      {
        endpoints: [
          {
            addresses: ['10.1.0.1', '10.1.0.9'],
            conditions: { ready: true },
            nodeName: 'node1',
            zone: 'a',
            targetRef: { kind: 'Pod', name: 'cart-x' },
            hints: { forZones: [{ name: 'a' }], forNodes: [{ name: 'node1' }] },
          },
        ],
      },
      {
        labels: { 'kubernetes.io/service-name': 'cart' },
        annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': '2024-05-01T12:00:00.5Z' },
      },
    ),
    object: {
      kind: 'EndpointSlice',
      namespace: 'shop',
      name: 'cart-1',
      service: 'cart',
      family: 'IPv4',
      ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
      endpoints: [
        {
          ip: '10.1.0.1',
          ...servesAlways,
          nodeName: 'node1',
          zone: 'a',
          forZones: ['a'],
          forNodes: ['node1'],
          isPod: true,
        },
      ],
      triggered: Date.UTC(2024, 4, 1, 12, 0, 0, 500),
    },
  },
  {
    title: 'conditions that are not set have the defaults of the API: ready, serving, not terminating',
    raw: endpoints(
      { addresses: ['10.1.0.1'] },
      { addresses: ['10.1.0.2'], conditions: { ready: null } },
      { addresses: ['10.1.0.3'], conditions: { ready: false } },
      { addresses: ['10.1.0.4'], conditions: { ready: false, serving: true, terminating: true } },
    ),
    object: {
      endpoints: [
        { ip: '10.1.0.1', ...servesAlways },
        { ip: '10.1.0.2', ...servesAlways },
        { ip: '10.1.0.3', ready: false, serving: true, terminating: false, ...nowhere },
        { ip: '10.1.0.4', ready: false, serving: true, terminating: true, ...nowhere },
      ],
    },
  },
  {
    title: 'endpoints of the wrong family, without address or with a special one are left out, and the others stay',
    raw: endpoints(
      { addresses: ['fd00::1'] },
      { addresses: [] },
      {},
      { addresses: ['127.0.0.1'] },
      { addresses: ['10.1.0.1'] },
    ),
    object: { endpoints: [{ ip: '10.1.0.1', ...servesAlways }] },
    problems: [
      /LP221 EndpointSlice shop\/cart-1: endpoints\[0\].addresses\[0\] fd00::1 is not of the slice's addressType IPv4/,
      /LP221 .*endpoints\[1\].addresses\[0\] is missing/,
      /LP221 .*endpoints\[2\]/,
      /LP221 .*endpoints\[3\].* 127.0.0.1 is a loopback address/,
    ],
  },
  {
    title: 'an endpoint whose readiness is neither true nor false gets no traffic',
    raw: endpoints({ addresses: ['10.1.0.1'], conditions: { ready: 'false' } }),
    object: { endpoints: [] },
    problems: [/LP221 .*endpoints\[0\].conditions.ready "false" is neither true nor false; this endpoint is left out/],
  },
  {
    title: 'old spellings of endpoints are read as by kube-proxy',
    raw: endpoints({ addresses: ['::ffff:10.244.1.11'] }, { addresses: ['10.244.001.012'] }),
    object: { endpoints: ['10.244.1.11', '10.244.1.12'].map(ip => ({ ip, ...servesAlways })) },
  },
  {
    title: 'IPv6 addresses are written in one way',
    raw: slice({ addressType: 'IPv6', endpoints: [{ addresses: ['FD00:0:0::A'] }] }),
    object: { family: 'IPv6', endpoints: [{ ip: 'fd00::a', ...servesAlways }] },
  },
  {
    title: 'slice ports with bad numbers, protocols or names are left out',
    raw: slice({
      ports: [{ name: 'a', port: 0 }, { name: 'b', port: 1, protocol: 'ICMP' }, { port: 80 }, { name: '', port: 81 }],
      endpoints: [],
    }),
    object: { ports: [{ name: '', protocol: 'TCP', port: 80 }] },
    problems: [
      /LP221 .*ports\[0\].port 0/,
      /LP221 .*ports\[1\].protocol "ICMP"/,
      /ports\[3\]: it is the second port without a name/,
    ],
  },
  {
    title: 'a slice that means all ports, as no proxy does, has none',
    raw: slice({ ports: [{ name: 'all', port: null }], endpoints: null }),
    object: { ports: [], endpoints: [] },
  },
  {
    title: 'a slice of no Service is ignored and no problem',
    raw: slice({}, { labels: { app: 'cart' } }),
    ignored: /kubernetes.io\/service-name/,
  },
  {
    title: 'a slice with the label service.kubernetes.io/headless is ignored, as by kube-proxy, and no problem',
    raw: slice({}, { labels: { 'kubernetes.io/service-name': 'cart', 'service.kubernetes.io/headless': '' } }),
    ignored: /service.kubernetes.io\/headless/,
  },
  { title: 'a slice of names is ignored and no problem', raw: slice({ addressType: 'FQDN' }), ignored: /FQDN/ },
  {
    title: 'a slice of an unknown address type is left out',
    raw: slice({ addressType: 'ipv4' }),
    problems: [/LP221 EndpointSlice shop\/cart-1: addressType "ipv4" is no family; the slice is left out/],
  },
]

const others: readonly Case[] = [
  {
    title: 'a Node has its ExternalIP as its address in a family where it has no InternalIP',
    raw: {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'node1' },
      status: {
        addresses: [
          { type: 'ExternalIP', address: '2001:db8::1' },
          { type: 'ExternalIP', address: '198.51.100.1' },
          { type: 'InternalIP', address: '192.0.2.1' },
        ],
      },
    },
    object: { addresses: ['192.0.2.1', '2001:db8::1'] },
  },
  {
    title: 'a Node keeps its zone, the labels of Lightpath, its internal addresses and its ranges of pods',
    raw: {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: 'node1.example',
        labels: { 'topology.kubernetes.io/zone': 'a', 'lightpath.cloud/x': 'y', 'kubernetes.io/os': 'linux' },
      },
      spec: { podCIDRs: ['10.244.1.7/24', 'fd00:244:1::/64', 'x'] },
      status: {
        addresses: [
          { type: 'Hostname', address: 'node1' },
          { type: 'ExternalIP', address: '198.51.100.1' },
          { type: 'InternalIP', address: '192.0.2.1' },
          { type: 'InternalIP', address: 'FD00::1' },
          { type: 'InternalIP', address: 'node1' },
        ],
      },
    },
    object: {
      kind: 'Node',
      name: 'node1.example',
      labels: { 'topology.kubernetes.io/zone': 'a', 'lightpath.cloud/x': 'y' },
      addresses: ['192.0.2.1', 'fd00::1'],
      podCidrs: ['10.244.1.0/24', 'fd00:244:1::/64'],
      leaving: false,
    },
    problems: [
      /LP102 Node node1.example: status.addresses: InternalIP "node1" is no IP address/,
      /podCIDRs: "x" is no CIDR/,
    ],
  },
  ...[
    ['is being deleted', { metadata: { name: 'node1', deletionTimestamp: '2026-01-01T00:00:00Z' } }],
    [
      'the cluster autoscaler is to delete',
      { spec: { taints: [{ key: 'a' }, { key: 'ToBeDeletedByClusterAutoscaler' }] } },
    ],
  ].map(([what, fields]) => ({
    title: `a Node that ${what} is leaving`,
    raw: { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1' }, ...(fields as object) },
    object: { kind: 'Node', name: 'node1', labels: {}, addresses: [], podCidrs: [], leaving: true } as const,
  })),
  {
    title: 'a ServiceCIDR is its ranges, canonical; what is no range is left out',
    raw: {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'ServiceCIDR',
      metadata: { name: 'kubernetes' },
      spec: { cidrs: ['10.96.1.2/12', 'FD00:0::/108', '10.0.0.0'] },
    },
    object: { kind: 'ServiceCIDR', name: 'kubernetes', cidrs: ['10.96.0.0/12', 'fd00::/108'] },
    problems: [/LP102 ServiceCIDR kubernetes: spec.cidrs: "10.0.0.0" is no range of addresses/],
  },
  {
    title: 'a Namespace keeps the label that opts it out, and is in no namespace',
    raw: {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'shop', namespace: 5, labels: { lightpath: 'disabled', team: 'x' } },
    },
    object: { kind: 'Namespace', name: 'shop', labels: { lightpath: 'disabled' } },
  },
  {
    title: 'other kinds are ignored and no problem',
    raw: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: {} },
    ignored: /"apps\/v1 Deployment" is not used/,
  },
  {
    title: 'what is inherited from Object is no kind',
    raw: { apiVersion: '__proto__', kind: '' },
    ignored: /not used/,
  },
  { title: 'a text is no object', raw: 'kind', problems: [/LP102 a\.yaml:3: "kind" is no Kubernetes object/] },
  { title: 'an object without a kind is told', raw: {}, problems: [/LP102 a\.yaml:3: kind is missing/] },
  {
    title: 'an object without an apiVersion is told',
    raw: { kind: 'Service' },
    problems: [/LP102 a\.yaml:3: apiVersion is missing; it is left out; write apiVersion and kind/],
  },
]

for (const { title, raw, object, problems = [], ignored } of [...services, ...slices, ...others]) {
  test(title, () => {
    const parsed = parseObject(raw, 'a.yaml:3')
    const told = parsed.problems.map(p => `${p.code} ${p.object}: ${p.reason}; ${p.remedy}`)
    assert.equal(told.length, problems.length, told.join('\n'))
    problems.forEach((pattern, i) => {
      assert.match(told[i]!, pattern)
    })
    assert.match(parsed.ignored ?? '', ignored ?? /^$/)
    assert.equal(parsed.object !== undefined, object !== undefined)
    const fields = Object.keys(object ?? {}).map(key => [
      key,
      (parsed.object as unknown as Record<string, unknown>)[key],
    ])
    assert.deepEqual(Object.fromEntries(fields), object ?? {})
  })
}

test('a slice of 5,000 endpoints is read whole', () => {
  const many = Array.from({ length: 5000 }, (_, i) => ({ addresses: [`10.1.${i >> 8}.${i & 255}`] }))
  const parsed = parseObject(endpoints(...many)).object as EndpointSlice
  assert.equal(parsed.endpoints.length, 5000)
})

test('thousands of broken endpoints are told with a few problems and their number', () => {
  const { problems } = parseObject(endpoints(...Array.from({ length: 5000 }, () => ({ addresses: ['x'] }))))
  assert.equal(problems.length, 11)
  assert.match(problems[10]!.reason, /4990 more such problems, the last: endpoints\[4999\]/)
})

test('slices and Services with equal ports share one list, and endpoints share names of nodes and zones', () => {
  const parse = (name: string) => parseObject(slice({ endpoints: [] }, { name })).object as EndpointSlice | undefined
  assert.equal(
    parse('a')!.ports,
    parseObject(slice({})).object && (parseObject(slice({})).object as EndpointSlice).ports,
  )
  const one = parseObject(service({ ports: [{ port: 80 }] })).object as Service
  const two = parseObject(service({ ports: [{ port: 80 }] }, { name: 'other' })).object as Service
  assert.equal(one.ports, two.ports)
})

test('the items of Lists, typed lists and lists in lists are objects of their own', () => {
  const item = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' } }
  assert.deepEqual([...listItems(item)], [item])
  assert.deepEqual([...listItems({ apiVersion: 'v1', kind: 'List', items: [item, 1, item] })], [item, 1, item])
  const typed = { apiVersion: 'v1', kind: 'ServiceList', items: [{ metadata: { name: 'a' } }] }
  assert.deepEqual([...listItems({ kind: 'List', items: [typed] })], [item])
  assert.deepEqual([...listItems(null)], [null])
})

test('no JSON value makes parsing throw, alone, in a list, or in any place of an object', () => {
  const anything = fc.jsonValue({ maxDepth: 4 })
  const fields = fc.dictionary(fc.constantFrom('name', 'namespace', 'labels', 'annotations', 'port', 'ports'), anything)
  const raw = fc.record(
    {
      apiVersion: fc.constantFrom('v1', 'discovery.k8s.io/v1'),
      kind: fc.constantFrom('Service', 'EndpointSlice', 'Node', 'Namespace', 'List', 'ServiceList'),
      metadata: fc.oneof(anything, fields, fc.constant({ name: 'a', labels: { 'kubernetes.io/service-name': 'a' } })),
      addressType: fc.oneof(anything, fc.constantFrom('IPv4', 'IPv6')),
      spec: fc.oneof(
        anything,
        fc.record({ clusterIPs: fc.array(anything), ports: fc.array(fc.oneof(anything, fields)), type: anything }),
      ),
      status: fc.record({ addresses: fc.array(fc.record({ type: fc.constant('InternalIP'), address: anything })) }),
      ports: fc.oneof(anything, fc.array(fields)),
      items: fc.oneof(anything, fc.array(anything)),
      endpoints: fc.oneof(
        anything,
        fc.array(
          fc.record({
            addresses: fc.array(fc.oneof(anything, fc.ipV4(), fc.ipV6())),
            conditions: anything,
            hints: anything,
          }),
        ),
      ),
    },
    { requiredKeys: ['apiVersion', 'kind'] },
  )
  fc.assert(
    fc.property(fc.oneof(anything, raw), value => {
      for (const item of listItems(value)) {
        const { object, problems, ignored } = parseObject(item)
        assert.ok(object || problems.length > 0 || ignored !== undefined, 'nothing vanishes without a word')
      }
    }),
    { numRuns: 2000 },
  )
})

test('a value of any depth is told like any other', () => {
  let deep: unknown = []
  for (let i = 0; i < 100_000; i++) deep = { kind: 'List', items: [deep] }
  assert.equal([...listItems(deep)].length, 1)
  let object: unknown = {}
  for (let i = 0; i < 100_000; i++) object = { x: object }
  assert.equal(parseObject(service({ ports: [{ port: object }], clusterIP: object })).problems.length, 2)
})

test('a parsed object says the same when it is parsed again after going through JSON', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ name: fc.constantFrom('', 'a', 'b'), port: fc.integer() })), ports => {
      const first = parseObject(service({ ports })).object as Service
      const again = parseObject(service({ ports: first.ports }))
      assert.deepEqual((again.object as Service).ports, first.ports)
      assert.deepEqual(again.problems, [])
    }),
  )
})
