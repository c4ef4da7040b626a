import { type Family, familiesOf as familyNamesOf } from '../../kernel/family.ts'
import {
  readOverlaySwitch as readIptablesSwitch,
  setOverlaySwitch as setIptablesSwitch,
} from '../../kernel/iptables/overlay.ts'
import { IptablesPrograms } from '../../kernel/iptables/programs.ts'
import { withNftables } from '../../kernel/nftables/client.ts'
import { readOverlaySwitch, setOverlaySwitch } from '../../kernel/nftables/switch.ts'
import { familiesOf } from '../families.ts'
import type { Config } from '../options.ts'
import { requireNetAdmin } from '../privilege.ts'
import { UsageError } from '../usage.ts'

/** In the kernel itself, so that it works with the agent dead and the agent does not undo it. */
export async function switchOverlay(config: Config, what: string): Promise<void> {
  if (what !== 'on' && what !== 'off' && what !== 'show')
    throw new UsageError(`${JSON.stringify(what)} is not on, off or show`)
  requireNetAdmin('overlay')
  const families = familyNamesOf(familiesOf(config))
  const before = await read(config, families)
  if (before === undefined) {
    const missing = config.proxyMode === 'nftables' ? 'table lightpath' : 'ipsets of Lightpath'
    throw new Error(`this node has no ${missing}: no agent has run here yet`)
  }
  if (what !== 'show') await write(config, families, what === 'on')
  const isOn = what === 'show' ? before : what === 'on'
  process.stdout.write(
    isOn
      ? 'overlay is on: Service ports that Envoy has acknowledged go to Envoy\n'
      : 'overlay is off: the kernel layer serves all new connections of this node\n',
  )
}

function read({ proxyMode }: Config, families: readonly Family[]): Promise<boolean | undefined> {
  return proxyMode === 'nftables'
    ? withNftables(undefined, nft => readOverlaySwitch(nft, families))
    : readIptablesSwitch(new IptablesPrograms(), families)
}

function write({ proxyMode }: Config, families: readonly Family[], on: boolean): Promise<void> {
  return proxyMode === 'nftables'
    ? withNftables(undefined, nft => setOverlaySwitch(nft, families, on))
    : setIptablesSwitch(new IptablesPrograms(), families, on)
}
