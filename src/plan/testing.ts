/** Plans and what they are made of, for tests. */

import assert from 'node:assert/strict'
import type { IpFamily } from '../net/address.ts'
import { ClusterFacts } from '../services/clusterfacts.ts'
import type { EndpointSlice } from '../services/objects/endpointslice.ts'
import type { Change, KubeObject } from '../services/objects/objects.ts'
import type { Service, ServicePort } from '../services/objects/service.ts'
import type { PodKnowledge } from '../services/podindex.ts'
import { defaultSettings } from '../services/settings/definitions.ts'
import { aPort, put } from '../services/testing.ts'
import { EndpointChoice } from './endpoints/choice.ts'
import type { NodeTopology } from './endpoints/rules.ts'
import type { NodeFacts } from './nodefacts.ts'
import { NodePlan } from './nodeplan.ts'
import { type ExternalAddresses, externalAddressesOfAll, externalAddressesOfPort } from './ports/externaladdresses.ts'
import type { PortState } from './ports/port.ts'
import type { PlanUpdate } from './update.ts'

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
    noLocalEndpoints: false,
    servingEndpoints: [],
    affinitySeconds: undefined,
    external: undefined,
    ...fields,
  }
}

/** The plan of node1, unless another is given, with facts of its own. */
export class TestPlan extends NodePlan {
  readonly facts: ClusterFacts

  constructor({ knowledge, ...node }: Partial<NodeFacts> & { readonly knowledge?: PodKnowledge } = {}) {
    const facts = new ClusterFacts(knowledge)
    super(facts, { name: 'node1', ...node })
    this.facts = facts
  }

  tell(changes: readonly Change[]): PlanUpdate {
    return this.apply(this.facts.apply(changes))
  }
}

/** Makes the plan of node1 with these objects. */
export function planOf(...objects: readonly KubeObject[]): TestPlan {
  const plan = new TestPlan()
  plan.tell(objects.map(put))
  return plan
}

export function stateOf(plan: NodePlan, id = 'whoami/whoami/http'): PortState {
  const state = plan.get(id)
  assert.ok(state, `${id} is served`)
  return state
}

export function outsideOf(service: Service, port: ServicePort, family: IpFamily): ExternalAddresses | undefined {
  return externalAddressesOfPort(externalAddressesOfAll(service, family), port)
}

/** Chooses the endpoints of one port alone. */
export function chooseEndpoints(
  service: Service,
  port: ServicePort,
  family: IpFamily,
  slices: readonly EndpointSlice[],
  topology: NodeTopology,
  external?: ExternalAddresses,
) {
  return new EndpointChoice(service, slices, topology).of(port, family, external)
}
