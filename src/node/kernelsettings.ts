/** Keeps the settings of the node's kernel that Services need; what may not be written is a problem of the Node. */

import { cpus } from 'node:os'
import {
  applySettings,
  type ConntrackOptions,
  commandFor,
  conntrackSettings,
  localPorts,
  requestMigration,
} from '../kernel/sysctl.ts'
import { type ClientAddress, firstOwnPort } from '../services/clientaddress.ts'
import type { ServiceScope } from '../services/layer.ts'
import { type Problem, problem } from '../services/problem.ts'
import { startRetrying } from './retry.ts'

export interface KernelSettingsOptions extends ConntrackOptions {
  readonly nodeName: string
  readonly services: ServiceScope
  readonly clientAddress: ClientAddress
}

export interface SettingsGroup {
  readonly settings: ReturnType<typeof conntrackSettings>
  /** What is wrong without them. */
  readonly harm: string
}

const retryMs = 60_000

/** With --services=labelled conntrack is the business of the kube-proxy beside us. */
export function settingsGroups(options: KernelSettingsOptions): readonly SettingsGroup[] {
  const conntrack = options.services === 'all' ? conntrackSettings(options, cpus().length) : []
  const ports = options.clientAddress === 'preserve' ? [localPorts(firstOwnPort)] : []
  const groups = [
    {
      settings: conntrack,
      harm: 'connections beyond the size of the table are dropped, and idle ones may be forgotten',
    },
    { settings: [requestMigration], harm: 'while Envoy is upgraded the kernel layer serves all Services' },
    { settings: ports, harm: "Envoy's connections may collide with those of the client they stand for" },
  ]
  return groups.filter(({ settings }) => settings.length > 0)
}

/** Undefined where all is as it has to be. */
export async function settingsProblem(
  { settings, harm }: SettingsGroup,
  nodeName: string,
): Promise<Problem | undefined> {
  const unmet = await applySettings(settings)
  if (unmet.length === 0) return undefined
  const reason = unmet.map(({ name, wanted, reason }) => `${name} is not ${wanted} (${reason})`).join(', ')
  return problem('LP403', `Node ${nodeName}`, reason, `${harm}; run as root on the node: ${commandFor(unmet)}`)
}

/** Tries again every minute what may not be written, until somebody has set it. */
export function startSettings(
  options: KernelSettingsOptions,
  onProblems: (origin: string, problems: readonly Problem[]) => void,
): { stop(): Promise<void> } {
  const running = settingsGroups(options).map((group, index) => {
    let found: Problem | undefined
    return startRetrying({
      start: async () => {
        found = await settingsProblem(group, options.nodeName)
        if (found) throw new Error(found.reason)
      },
      everyMs: retryMs,
      problem: () => found!,
      onProblems: problems => onProblems(`kernel settings ${index}`, problems),
    })
  })
  return { stop: async () => void (await Promise.all(running.map(one => one.stop()))) }
}
