/** Keeps the settings of the node's kernel that Services need; one that may not be written is a problem of the Node. */

import { cpus } from 'node:os'
import {
  applySettings,
  type ConntrackOptions,
  commandFor,
  conntrackSettings,
  localPorts,
  requestMigration,
} from '../../kernel/system/sysctl.ts'
import type { ServiceScope } from '../../plan/ports/scope.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { type ClientAddress, firstOwnPort } from '../../services/settings/clientaddress.ts'
import { PeriodicTask } from '../tasks/periodictask.ts'

export interface KernelSettingsOptions extends ConntrackOptions {
  readonly nodeName: string
  readonly services: ServiceScope
  readonly clientAddress: ClientAddress
}

export interface SettingsGroup {
  readonly settings: ReturnType<typeof conntrackSettings>
  /** The harm without them. */
  readonly harm: string
}

const lookMs = 60_000

/** With --services=labelled, conntrack is the business of the kube-proxy beside us. */
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

/**
 * Probes again every minute, for as long as the agent runs: settings that may not be written until somebody sets them,
 * and those that somebody else has changed since, which are set again and reported.
 */
export function keepSettings(
  groups: readonly SettingsGroup[],
  nodeName: string,
  onProblems: (origin: string, problems: readonly Problem[]) => void,
  everyMs = lookMs,
): { stop(): Promise<void> } {
  const tasks = groups.map((group, index) => {
    const task = new PeriodicTask(async () => {
      const found = await settingsProblem(group, nodeName)
      onProblems(`kernel settings ${index}`, found ? [found] : [])
      return everyMs
    })
    task.schedule(0)
    return task
  })
  return { stop: async () => void (await Promise.all(tasks.map(task => task.stop()))) }
}
