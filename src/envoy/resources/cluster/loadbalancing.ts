/**
 * Says how Envoy chooses among endpoints: the policies of the setting lb-policy. PEAK_EWMA is the module's
 * (native/latency/ewma.c), which a `DynamicModulesLoadBalancerConfig` calls; the others are Envoy's own.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/load_balancing/load_balancers
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { StringValueSchema } from '@bufbuild/protobuf/wkt'
import type { PortState } from '../../../plan/ports/port.ts'
import { isByRequest } from '../../../services/settings/envoyprotocol.ts'
import type { LbPolicy, NodeLbPolicy, Settings } from '../../../services/settings/settings.ts'
import { Cluster_LbPolicy, ClusterSchema } from '../../api/envoy/config/cluster/v3/cluster_pb.js'
import { DynamicModulesLoadBalancerConfigSchema } from '../../api/envoy/extensions/load_balancing_policies/dynamic_modules/v3/dynamic_modules_pb.js'
import { any, duration, encode, memoize } from '../../encoding.ts'
import { envoyModule } from '../../program/module.ts'

/** The properties of a node that decide how endpoints are chosen. */
export interface BalancingNode {
  /** The policy of ports whose settings name none. Default LEAST_REQUEST. */
  readonly lbPolicy?: NodeLbPolicy
  /**
   * The directory in which the module of the node's Envoys keeps its observations; undefined where one lacks the
   * module.
   */
  readonly latencies?: string
}

export interface LbChoice {
  readonly policy: LbPolicy
  /** Why it is not the one that was asked for. */
  readonly instead?: 'protocol' | 'module'
}

/** Decides how Envoy chooses an endpoint of this port. */
export function lbPolicyOf({ settings, layer }: Pick<PortState, 'settings' | 'layer'>, node: BalancingNode): LbChoice {
  const policy = settings.lbPolicy ?? node.lbPolicy ?? 'LEAST_REQUEST'
  if (policy !== 'PEAK_EWMA') return { policy }
  if (layer.wants !== 'envoy' || !isByRequest(layer.protocol)) return { policy: 'LEAST_REQUEST', instead: 'protocol' }
  return node.latencies === undefined ? { policy: 'LEAST_REQUEST', instead: 'module' } : { policy }
}

const envoysOwn: Readonly<Record<Exclude<LbPolicy, 'PEAK_EWMA'>, Cluster_LbPolicy>> = {
  LEAST_REQUEST: Cluster_LbPolicy.LEAST_REQUEST,
  ROUND_ROBIN: Cluster_LbPolicy.ROUND_ROBIN,
  RANDOM: Cluster_LbPolicy.RANDOM,
  RING_HASH: Cluster_LbPolicy.RING_HASH,
  MAGLEV: Cluster_LbPolicy.MAGLEV,
}

/** The part of an encoded cluster, for its namespace. */
export function loadBalancing(policy: LbPolicy): (settings: Settings) => (namespace: string) => Uint8Array {
  return memoize(({ slowStart }) => {
    if (policy === 'PEAK_EWMA') return byLatency(slowStart)
    const part = encode(ClusterSchema, envoysOwnPolicy(policy, slowStart))
    return () => part
  })
}

function envoysOwnPolicy(policy: keyof typeof envoysOwn, slowStart: number): MessageInitShape<typeof ClusterSchema> {
  const slowStartConfig = slowStart === 0 ? undefined : { slowStartWindow: duration(slowStart) }
  const lbPolicy = envoysOwn[policy]
  if (!slowStartConfig) return { lbPolicy }
  if (policy === 'LEAST_REQUEST') {
    return { lbPolicy, lbConfig: { case: 'leastRequestLbConfig', value: { slowStartConfig } } }
  }
  if (policy === 'ROUND_ROBIN') {
    return { lbPolicy, lbConfig: { case: 'roundRobinLbConfig', value: { slowStartConfig } } }
  }
  return { lbPolicy }
}

/** Namespaces share the module's table. The name has the namespace: in the configuration an older module wants digits. */
function byLatency(slowStart: number): (namespace: string) => Uint8Array {
  const parts = new Map<string, Uint8Array>()
  return namespace => {
    const part = parts.get(namespace) ?? encode(ClusterSchema, moduleWith(slowStart, namespace))
    parts.set(namespace, part)
    return part
  }
}

function moduleWith(slowStart: number, namespace: string): MessageInitShape<typeof ClusterSchema> {
  const typedConfig = any(DynamicModulesLoadBalancerConfigSchema, {
    dynamicModuleConfig: envoyModule,
    lbPolicyName: `peak-ewma/${namespace}`,
    lbPolicyConfig: any(StringValueSchema, { value: String(slowStart) }),
  })
  const name = 'envoy.load_balancing_policies.dynamic_modules'
  return { loadBalancingPolicy: { policies: [{ typedExtensionConfig: { name, typedConfig } }] } }
}

/** RING_HASH and MAGLEV need something to hash, or they choose at random: the client's address. */
export function hashesClients({ lbPolicy }: Settings): boolean {
  return lbPolicy === 'RING_HASH' || lbPolicy === 'MAGLEV'
}
