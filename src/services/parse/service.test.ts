import { type Case, service, testCases } from './testing.ts'

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

testCases(services)
