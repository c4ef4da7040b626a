/**
 * Finds which policies of network plugins and administrators (services/objects/policykinds.ts) the API serves: the
 * kinds come and go with the plugin. https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
 */

import { otherPolicyKind, otherPolicyKinds } from '../../services/objects/policykinds.ts'
import { rawList, rawObject, rawText } from '../../text/raw.ts'
import type { ApiServer } from '../api-server.ts'
import type { Resource } from './list-watch.ts'

/** Returns the resources of such policies that exist now. Throws ApiError, or what broke the connection. */
export async function policyResources(api: Pick<ApiServer, 'json'>, signal: AbortSignal): Promise<readonly Resource[]> {
  const { groups } = rawObject(await api.json('/apis', {}, signal))
  const known = new Set<string>(otherPolicyKinds.map(({ group }) => group))
  const found = new Map<string, Resource>()
  for (const group of rawList(groups).map(rawObject)) {
    if (!known.has(rawText(group.name))) continue
    for (const version of rawList(group.versions).map(value => rawText(rawObject(value).groupVersion))) {
      const { resources } = rawObject(await api.json(`/apis/${version}`, {}, signal))
      const names = new Set(rawList(resources).map(value => rawObject(value).name))
      for (const row of otherPolicyKinds) {
        const [kind, plural] = [otherPolicyKind(row), row.kind.toLowerCase().replace(/y$/, 'ies')]
        if (row.group !== group.name || found.has(kind) || !names.has(plural)) continue
        const path = `/apis/${version}/${plural}`
        found.set(kind, { kind, apiKind: row.kind, apiVersion: version, path, isOptional: true })
      }
    }
  }
  return [...found.values()]
}
