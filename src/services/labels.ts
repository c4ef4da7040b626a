/** Labels of Services, pods, Nodes and Namespaces that say which proxy serves them, in which layer, and what is never excluded. */

export const labels = {
  proxyName: 'service.kubernetes.io/service-proxy-name',
  headless: 'service.kubernetes.io/headless',
  optOut: 'lightpath.cloud/proxy',
  namespaceOptOut: 'lightpath',
  exclusion: 'lightpath.cloud/exclusion',
} as const

/** The condition of a Pod that is False while many nodes cannot reach it, and the readiness gate for that. */
export const reachable = 'lightpath.cloud/Reachable'

export const ourProxyName = 'lightpath.cloud'
