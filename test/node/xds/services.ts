/** Envoys with a lab for a test, the resources of a Service, and what of them Envoy has. */

import assert from 'node:assert/strict'
import type { Resource, TypeUrl } from '../../../src/envoy/resource.ts'
import { Envoy, XdsLab } from './lab.ts'
import { clusterResource, endpointsResource, listenerResource } from './resources.ts'

/** Less than the 15 s after which Envoy goes on without what it waits for. */
export const promptSeconds = 12

/** A lab with running Envoys, all ended with the test. */
export async function withEnvoys(
  count: number,
  body: (lab: XdsLab, envoys: readonly Envoy[]) => Promise<void>,
): Promise<void> {
  const lab = new XdsLab()
  const envoys: Envoy[] = []
  try {
    await lab.start()
    for (let n = 1; n <= count; n++) envoys.push(await Envoy.start(lab.path, `node${n}`))
    await body(lab, envoys)
  } catch (error) {
    const logs = envoys.map(envoy => envoy.log().split('\n').slice(-20).join('\n'))
    throw new Error([(error as Error).stack, ...lab.log.slice(-20), ...logs].join('\n'))
  } finally {
    for (const envoy of envoys) await envoy.stop()
    await lab.destroy()
  }
}

export function serviceResources(name: string, version: string, address = '10.0.0.1'): Resource[] {
  return [
    clusterResource(name, version),
    endpointsResource(name, version, [8080]),
    listenerResource(`${address}:80`, version, name, { address }),
  ]
}

export const hasAll = (lab: XdsLab, resources: readonly Resource[], client?: number) =>
  resources.every(resource => lab.has(resource, client))

export const indexOf = (list: readonly { typeUrl: TypeUrl; name: string }[], typeUrl: TypeUrl, name: string) => {
  const index = list.findIndex(ref => ref.typeUrl === typeUrl && ref.name === name)
  assert.notEqual(index, -1, `${typeUrl} ${name} was never reported`)
  return index
}
