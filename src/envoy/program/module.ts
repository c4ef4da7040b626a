/** The module for Envoy (native/), and how an Envoy tells that it has it. */

/**
 * `liblightpath.so` in ENVOY_DYNAMIC_MODULES_SEARCH_PATH. It stays loaded: it has a thread, and remembers endpoints.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/advanced/dynamic_modules
 */
export const envoyModule = { name: 'lightpath', doNotClose: true } as const

const moduleKey = 'lightpath.cloud/module'

/** Of an Envoy's bootstrap, in its Node.metadata. An Envoy refuses whatever names a module that it does not find. */
export function metadataOfModule(hasModule: boolean): Readonly<Record<string, string>> {
  // For images/envoy-start, which changes it in the text of this file.
  return { [moduleKey]: String(hasModule) }
}

export function hasModule(metadata: ReadonlyMap<string, string>): boolean {
  return metadata.get(moduleKey) === 'true'
}
