/** Labels of Services, pods, Nodes and Namespaces that say which proxy serves them, in which layer, and what is never excluded. */

export const labels = {
  proxyName: 'service.kubernetes.io/service-proxy-name',
  headless: 'service.kubernetes.io/headless',
  optOut: 'lightpath.cloud/proxy',
  namespaceOptOut: 'lightpath',
  exclusion: 'lightpath.cloud/exclusion',
} as const

export const ourProxyName = 'lightpath.cloud'
