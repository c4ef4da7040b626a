import { backendOf } from '../../kernel/backends.ts'
import { familiesOf as familyNamesOf } from '../../kernel/family.ts'
import { familiesOf } from '../families.ts'
import type { Config } from '../options.ts'
import { requireNetAdmin } from '../privilege.ts'
import { UsageError } from '../usage.ts'

/** Switches in the kernel itself, so that it works with the agent dead and the agent does not undo it. */
export async function switchOverlay(config: Config, what: string): Promise<void> {
  if (what !== 'on' && what !== 'off' && what !== 'show')
    throw new UsageError(`${JSON.stringify(what)} is not on, off or show`)
  requireNetAdmin('overlay')
  const { overlaySwitch } = backendOf(config.proxyMode)
  const families = familyNamesOf(familiesOf(config))
  const before = await overlaySwitch.read(families)
  if (before === undefined) throw new Error(`this node has no ${overlaySwitch.missing}: no agent has run here yet`)
  if (what !== 'show') await overlaySwitch.set(families, what === 'on')
  const isOn = what === 'show' ? before : what === 'on'
  process.stdout.write(
    isOn
      ? 'overlay is on: Service ports that Envoy has acknowledged go to Envoy\n'
      : 'overlay is off: the kernel layer serves all new connections of this node\n',
  )
}
