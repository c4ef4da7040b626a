/** Options that several commands take, by their names in commands/options.ts. */

export const ports = ['redirectPort', 'adminPort'] as const
export const sockets = ['envoySockets', 'envoyUser'] as const
export const kernel = [
  ...([
    'steeringMark',
    'envoyMark',
    'routeTable',
    'rulePriority',
    'abandonAfter',
    'masqueradeMark',
    'nodeportAddresses',
    'masqueradeAll',
  ] as const),
  ...(['detectLocalMode', 'clusterCidr', 'podBridgeInterface', 'podInterfaceNamePrefix'] as const),
] as const
export const conntrack = [
  'conntrackMaxPerCore',
  'conntrackMin',
  'conntrackTcpTimeoutEstablished',
  'conntrackTcpTimeoutCloseWait',
  'conntrackTcpBeLiberal',
  'conntrackUdpTimeout',
  'conntrackUdpTimeoutStream',
] as const
