/** Checks a node before Lightpath is installed. It changes nothing. */

import { release } from 'node:os'
import type { KernelBackend } from '../kernel/backend.ts'
import { libcProblem } from '../kernel/netlink/libc.ts'
import type { RulesetOptions } from '../kernel/options.ts'
import { CommandError } from '../kernel/system/command.ts'
import { findLeftovers } from '../kernel/takeover.ts'
import type { IpFamily } from '../net/address.ts'
import type { ServiceScope } from '../plan/ports/scope.ts'
import { type Check, fails, warning } from './check.ts'
import { checkPorts, checkSysctls } from './limits.ts'
import { checkNetwork } from './network.ts'
import { checkKernel, checkPrograms, checkRules } from './programs.ts'
import { checkRouting, type RoutingMarks } from './routing.ts'
import { checkForeignRules, readForeignRules } from './ruleset.ts'

export interface PreflightOptions extends RulesetOptions, RoutingMarks {
  readonly families: readonly IpFamily[]
  readonly services: ServiceScope
  readonly backend: KernelBackend
  /** Ports that have to be free, or are used by agent and Envoys. */
  readonly ports: readonly number[]
  /** Whether an agent answers on this node. */
  readonly hasAgent: boolean
  /** Usually /etc/cni/net.d. */
  readonly cniDirectory: string
}

/** @param onStep receives what is checked now */
export async function checkNode(options: PreflightOptions, onStep: (step: string) => void): Promise<readonly Check[]> {
  const steps: readonly (readonly [string, () => Promise<readonly Check[]>])[] = [
    ['programs', () => checkPrograms(options.backend)],
    ['kernel', async () => checkKernel(release())],
    [options.backend.name, () => checkRules(options.backend, options.families, options)],
    ['leftovers', () => checkLeftovers(options.backend)],
    ['rules of others', () => lookAtForeignRules(options)],
    ['routing', async () => checkRouting(options)],
    ['pod network', () => checkNetwork(options.cniDirectory)],
    ['settings of the kernel', checkSysctls],
    ['ports', async () => [await checkPorts(options.ports, options.hasAgent)]],
  ]
  const missing = libcProblem()
  if (missing) return [fails('node:ffi', missing.reason, missing.remedy)]
  const checks: Check[] = []
  for (const [step, check] of steps) {
    onStep(step)
    checks.push(...(await check()))
  }
  return checks
}

/** Finds nothing where they may not be read, which the checks of the rules report. */
async function checkLeftovers(backend: KernelBackend): Promise<readonly Check[]> {
  const found = await findLeftovers(backend).catch(() => [])
  if (found.length === 0) return []
  const remedy = `an agent with --proxy-mode ${backend.name} removes them at its start; lightpath cleanup does without one`
  return [warning('rules by another --proxy-mode', found.join(', '), remedy)]
}

async function lookAtForeignRules(options: PreflightOptions): Promise<readonly Check[]> {
  const { steeringMark, envoyMark, services, backend } = options
  try {
    const found = await readForeignRules(steeringMark | envoyMark)
    const bits = [steeringMark, envoyMark].map(bit => `0x${bit.toString(16)}`).join(' or ')
    return checkForeignRules(found, bits, services)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    if (!backend.capabilities.needsNfTables) {
      const remedy = 'look in iptables-save for rules that drop at INPUT, and for marks that are ours'
      return [warning('rules of others', 'not looked at: that takes nftables', remedy)]
    }
    return [fails('rules of others', `nf_tables: ${error.message}`, 'run as root')]
  }
}
