/** The module for Envoy (native/), and how an Envoy reports that it has it. */

/**
 * `liblightpath.so` in ENVOY_DYNAMIC_MODULES_SEARCH_PATH. It stays loaded: it has a thread, and remembers endpoints.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/advanced/dynamic_modules
 */
export const envoyModule = { name: 'lightpath', doNotClose: true } as const

const moduleKey = 'lightpath.cloud/module'
/** Rises when agents rely on what modules did not do before: beside one of another version an agent does without. */
const moduleVersion = '2'

/** An entry of a bootstrap's Node.metadata. Envoy rejects a resource that names a module it does not find. */
export function metadataOfModule(hasModule: boolean): Readonly<Record<string, string>> {
  // images/envoy-start writes this, too.
  return { [moduleKey]: hasModule ? moduleVersion : 'false' }
}

export function hasModule(metadata: ReadonlyMap<string, string>): boolean {
  return metadata.get(moduleKey) === moduleVersion
}
