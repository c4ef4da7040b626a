import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { applySettings, type ConntrackOptions, commandFor, conntrackSettings, localPorts } from './sysctl.ts'

const directory = mkdtempSync(join(tmpdir(), 'lightpath-sysctl-'))
after(() => rmSync(directory, { recursive: true }))

/** kube-proxy's defaults. */
const usual: ConntrackOptions = {
  conntrackMaxPerCore: 32_768,
  conntrackMin: 131_072,
  conntrackTcpTimeoutEstablished: 86_400e3,
  conntrackTcpTimeoutCloseWait: 3600e3,
  conntrackUdpTimeout: 0,
  conntrackUdpTimeoutStream: 0,
  conntrackTcpBeLiberal: false,
}

/** What each setting becomes where it is `current`, by its name's last part. */
function wanted(options: Partial<ConntrackOptions>, cores: number, current: readonly number[] = [0]) {
  const settings = conntrackSettings({ ...usual, ...options }, cores)
  return Object.fromEntries(
    settings.map(({ name, wanted }) => [name.replace(/^.*(nf_conntrack_|\/)/, ''), wanted(current)[0]]),
  )
}

describe("conntrack's settings", () => {
  test("are kube-proxy's: the table by cores with a minimum, a bucket for four entries, two time-outs of TCP", () => {
    const timeouts = { tcp_timeout_established: 86_400, tcp_timeout_close_wait: 3600 }
    assert.deepEqual(wanted({}, 2), { max: 131_072, hashsize: 32_768, ...timeouts })
    assert.deepEqual(wanted({}, 8), { max: 262_144, hashsize: 65_536, ...timeouts })
  })
  test('never ask for more than a million entries because of the cores', () => {
    assert.equal(wanted({}, 32).max, 1_048_576)
    assert.equal(wanted({}, 33).max, 1_048_576)
    assert.equal(wanted({ conntrackMin: 2_000_000 }, 8).max, 2_000_000)
    assert.equal(wanted({ conntrackMin: 2_000_000 }, 33).max, 1_048_576)
  })
  test('never make the table smaller', () => {
    const { max, hashsize } = wanted({}, 2, [500_000])
    assert.deepEqual([max, hashsize], [500_000, 500_000])
  })
  test('leave alone what is 0', () => {
    assert.deepEqual(
      wanted({ conntrackMaxPerCore: 0, conntrackTcpTimeoutEstablished: 0, conntrackTcpTimeoutCloseWait: 0 }, 2),
      {},
    )
  })
  test('of UDP, and liberal TCP, are set where they are given', () => {
    const { udp_timeout, udp_timeout_stream, tcp_be_liberal } = wanted(
      { conntrackUdpTimeout: 40_500, conntrackUdpTimeoutStream: 120_000, conntrackTcpBeLiberal: true },
      2,
    )
    assert.deepEqual([udp_timeout, udp_timeout_stream, tcp_be_liberal], [40, 120, 1])
  })
})

test('the range of local ports is made wider, never narrower', () => {
  const { wanted } = localPorts(61_000)
  for (const [current, then] of [
    [
      [32_768, 60_999],
      [32_768, 65_535],
    ],
    [
      [1024, 65_535],
      [1024, 65_535],
    ],
    [
      [62_000, 63_000],
      [61_000, 65_535],
    ],
  ]) {
    assert.deepEqual(wanted(current!), then)
  }
})

describe('applying settings', () => {
  const file = (name: string, text: string) => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }
  const setting = (name: string, ...values: readonly number[]) => ({ name, wanted: () => values })

  test('writes what is different and nothing else', async () => {
    const [different, same] = [file('different', '1\t2\n'), file('same', '1\t2\n')]
    assert.deepEqual(await applySettings([setting(different, 1, 3), setting(same, 1, 2)]), [])
    assert.deepEqual([readFileSync(different, 'utf8'), readFileSync(same, 'utf8')], ['1 3', '1\t2\n'])
  })

  test('reports what is not there or may not be written, with the command that sets it, and goes on', async () => {
    const good = file('good', '1\n')
    const unmet = await applySettings([
      setting(join(directory, 'missing'), 5),
      setting('kernel.pid_max_of_nobody', 1),
      // This one nobody may write, not even root.
      setting('kernel.ostype', 7, 8),
      setting(good, 2),
    ])
    assert.deepEqual(
      unmet.map(({ reason }) => reason),
      ['unknown, ENOENT', 'unknown, ENOENT', ', EACCES'],
    )
    assert.equal(
      commandFor(unmet),
      `echo 5 > ${join(directory, 'missing')} && sysctl -w kernel.pid_max_of_nobody=1 && sysctl -w kernel.ostype="7 8"`,
    )
    assert.equal(readFileSync(good, 'utf8'), '2')
  })
})
