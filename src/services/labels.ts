/** Labels of Services, pods and Namespaces that say which proxy serves them, and in which layer. */

export const labels = {
  proxyName: 'service.kubernetes.io/service-proxy-name',
  headless: 'service.kubernetes.io/headless',
  optOut: 'lightpath.cloud/proxy',
  namespaceOptOut: 'lightpath',
} as const

export const ourProxyName = 'lightpath.cloud'
