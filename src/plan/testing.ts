/** Plans and what they are made of, for tests. */

import assert from 'node:assert/strict'
import type { IpFamily } from '../net/address.ts'
import type { EndpointSlice } from '../services/objects/endpointslice.ts'
import type { KubeObject } from '../services/objects/objects.ts'
import type { Service, ServicePort } from '../services/objects/service.ts'
import { defaultSettings } from '../services/settings/settings.ts'
import { aPort, put } from '../services/testing.ts'
import { EndpointChoice } from './endpoints/choice.ts'
import type { Here } from './endpoints/rules.ts'
import { ServiceTable } from './nodeplan.ts'
import { type Outside, outsideOfAll, outsideOfPort } from './ports/outside.ts'
import type { PortState } from './ports/port.ts'

export function aPortState(fields: Partial<PortState> = {}): PortState {
  return {
    id: 'whoami/whoami/http',
    namespace: 'whoami',
    name: 'whoami',
    port: aPort(),
    family: 'IPv4',
    vip: '10.96.0.10',
    settings: defaultSettings,
    layer: { wants: 'envoy', protocol: 'http', reason: 'port name http' },
    endpoints: [
      { ip: '10.244.1.2', port: 8080 },
      { ip: '10.244.2.2', port: 8080 },
    ],
    onlyElsewhere: false,
    answering: [],
    affinitySeconds: undefined,
    external: undefined,
    ...fields,
  }
}

/** The table of node1 that has been told these. */
export function tableOf(...objects: readonly KubeObject[]): ServiceTable {
  const table = new ServiceTable('node1')
  table.apply(objects.map(put))
  return table
}

export function stateOf(table: ServiceTable, id = 'whoami/whoami/http'): PortState {
  const state = table.get(id)
  assert.ok(state, `${id} is served`)
  return state
}

export function outsideOf(service: Service, port: ServicePort, family: IpFamily): Outside | undefined {
  return outsideOfPort(outsideOfAll(service, family), port)
}

/** The endpoints of one port alone. */
export function chooseEndpoints(
  service: Service,
  port: ServicePort,
  family: IpFamily,
  slices: readonly EndpointSlice[],
  here: Here,
  outside?: Outside,
) {
  return new EndpointChoice(service, slices, here).of(port, family, outside)
}
