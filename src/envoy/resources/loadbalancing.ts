/** How Envoy chooses among endpoints: the policies of the setting lb-policy. */

import type { LbPolicy, Settings } from '../../services/settings/settings.ts'
import { Cluster_LbPolicy } from '../api/envoy/config/cluster/v3/cluster_pb.js'

export const lbPolicies: Readonly<Record<LbPolicy, Cluster_LbPolicy>> = {
  LEAST_REQUEST: Cluster_LbPolicy.LEAST_REQUEST,
  ROUND_ROBIN: Cluster_LbPolicy.ROUND_ROBIN,
  RANDOM: Cluster_LbPolicy.RANDOM,
  RING_HASH: Cluster_LbPolicy.RING_HASH,
  MAGLEV: Cluster_LbPolicy.MAGLEV,
}

/** RING_HASH and MAGLEV need something to hash, or they choose at random: the client's address. */
export function hashesClients({ lbPolicy }: Settings): boolean {
  return lbPolicy === 'RING_HASH' || lbPolicy === 'MAGLEV'
}
