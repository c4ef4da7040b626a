/**
 * The kernel layer of this node, made by its backend, one for each family: one that the kernel rejects leaves the other
 * alone.
 */

import type { KernelLayer, KernelObserver } from '../kernel/layer.ts'
import { LayerPerFamily } from '../kernel/perfamily.ts'
import type { IpFamily } from '../net/address.ts'
import type { Report } from './events.ts'
import type { AgentOptions } from './options.ts'

/** @param tracksUse whether the kernel records which ports are called */
export function createKernelLayer(agent: AgentOptions, tracksUse: boolean, report: Report): KernelLayer {
  const { backend, clientAddress, redirectPort: targetPort, services } = agent
  const ownsClusterIPs = services === 'all'
  const options = { ...agent, clientAddress: clientAddress.mode, targetPort, ownsClusterIPs, tracksUse }
  return new LayerPerFamily(agent.families, family =>
    backend.create({ ...options, families: [family] }, observerOf(family, report)),
  )
}

function observerOf(family: IpFamily, report: Report): KernelObserver {
  return {
    applied: ports => report({ type: 'kernel applied', ports }),
    flushed: flush => report({ type: 'kernel flushed', family, flush }),
    drifted: what => report({ type: 'kernel drift', what }),
    overlaySwitched: isOff => report({ type: 'overlay switched', family, isOff }),
    foreignRules: () => report({ type: 'foreign rules' }),
    syncResult: result => report({ type: 'kernel sync', family, result }),
    reconciled: families => report({ type: 'kernel reconciled', families }),
    problems: (origin, problems) => report({ type: 'problems', origin: `${family} ${origin}`, problems }),
  }
}
