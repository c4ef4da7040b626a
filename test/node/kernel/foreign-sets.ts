/** What another program, with another version of nft, may have in nf_tables beside us. */

import assert from 'node:assert/strict'
import { run } from '../../../src/lab/processes.ts'

const newerNft = new URL('../../../tools/newer-nft', import.meta.url).pathname

/** The system's, and that of Debian 13. */
export async function versionsOfNft(): Promise<readonly string[]> {
  const { stdout, code, stderr } = await run(newerNft, [])
  assert.equal(code, 0, stderr)
  return ['nft', stdout.trim()]
}

/** A table `inet fw`. Its rules drop nothing of the tests. */
export const setsOfEveryKind = `table inet fw {
  set blocked { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
  set merged { type ipv6_addr; flags interval; auto-merge; elements = { 2001:db8::/64, 2001:db8:0:1::/64 } }
  set named { typeof ip saddr . tcp dport; elements = { 10.0.0.1 . 80 } }
  set timed { type ipv6_addr; flags timeout; timeout 1h; elements = { fd00::9 timeout 30m } }
  set fixed { type ether_addr; flags constant; elements = { 02:00:00:00:00:01 } }
  set counted { type ipv4_addr; size 9; counter; elements = { 192.0.2.9 } }
  map ways { type inet_service : verdict; elements = { 80 : accept } }
  map marks { type ifname : mark; elements = { "none0" : 0x00010000 } }
  map backends { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; elements = { 192.0.2.1 . tcp . 80 : 10.9.0.1 . 80 } }
  counter hits { }
  map counters { type ipv4_addr : counter; elements = { 192.0.2.3 : "hits" } }
  set ranges { type ipv4_addr . inet_service; flags interval; elements = { 192.0.2.0/25 . 1-99 } }
  set seen { type ipv4_addr; size 100; flags dynamic; }
  chain in {
    type filter hook input priority filter;
    ip saddr @blocked drop
    ip saddr . tcp dport @ranges drop
    tcp dport vmap { 9 : drop, 13-17 : drop }
    update @seen { ip saddr }
  }
}
`
