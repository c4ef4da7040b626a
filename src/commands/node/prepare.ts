import { settingsGroups, settingsProblem } from '../../node/system/kernelsettings.ts'
import { formatProblem } from '../../services/problem.ts'
import { decideForEnvoy, withClientAddress } from '../clientaddress.ts'
import type { Config } from '../options.ts'
import { requireNetAdmin } from '../privilege.ts'

/** Throws an Error that says what cannot be set. */
export async function prepare(given: Config): Promise<void> {
  requireNetAdmin('prepare')
  const config = withClientAddress(given, decideForEnvoy(given))
  const found = await Promise.all(settingsGroups(config).map(group => settingsProblem(group, config.nodeName)))
  const problems = found.filter(problem => problem !== undefined)
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join(' '))
}
