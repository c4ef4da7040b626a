import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { AgentLab, skip } from './lab.ts'

/** The size of the table is the machine's, and no namespace may change it: that is tried here, and refused. */
describe("settings of the node's kernel", { skip }, () => {
  let lab: AgentLab
  const conntrack = [
    ...['--conntrack-max-per-core', '1', '--conntrack-min', '99000000'],
    ...['--conntrack-udp-timeout', '41s', '--conntrack-udp-timeout-stream', '0', '--conntrack-tcp-be-liberal', 'true'],
  ]

  before(async () => {
    lab = await AgentLab.build({ flags: conntrack })
  })

  after(() => lab?.destroy())

  const setting = async (name: string) => (await lab.on('sysctl', ['-n', name])).stdout.trim()
  const ofConntrack = (name: string) => setting(`net.netfilter.nf_conntrack_${name}`)

  test('are set as kube-proxy sets them, and what may not be is a problem that names the command', async () => {
    const before = await ofConntrack('udp_timeout_stream')
    await lab.agent.up()
    const line = await lab.untilLogged(/LP403.*"problem"/)
    assert.match(line, /"object":"Node node1"/)
    assert.match(line, /nf_conntrack_max is not 99000000 \(\d+, E\w+\)/)
    assert.match(
      line,
      /run as root on the node: sysctl -w net\.netfilter\.nf_conntrack_max=99000000 && echo 24750000 > /,
    )
    assert.deepEqual(
      [
        await ofConntrack('tcp_timeout_established'),
        await ofConntrack('tcp_timeout_close_wait'),
        await ofConntrack('udp_timeout'),
        await ofConntrack('udp_timeout_stream'),
        await ofConntrack('tcp_be_liberal'),
      ],
      ['86400', '3600', '41', before, '1'],
    )
    await lab.until('readiness', async () => (await lab.page('/readyz')) === 'ok\n')
    assert.match(await setting('net.ipv4.ip_local_port_range'), /60999$/)
    await lab.agent.down()
  })

  test('are left to the kube-proxy beside with --services=labelled, but for the ports that the client address needs', async () => {
    await lab.on('sysctl', ['-qw', 'net.netfilter.nf_conntrack_udp_timeout=30'])
    const flags = ['--services', 'labelled', '--client-address', 'preserve']
    assert.deepEqual(await lab.lightpath('prepare', ...conntrack, ...flags), { code: 0, stdout: '', stderr: '' })
    assert.equal(await ofConntrack('udp_timeout'), '30')
    assert.match(await setting('net.ipv4.ip_local_port_range'), /^32768\s65535$/)
  })

  test('lightpath prepare sets the same, and fails where it may not', async () => {
    const { code, stderr } = await lab.lightpath('prepare', '--node-name', 'node7', ...conntrack)
    assert.equal(code, 1)
    assert.match(stderr, /^lightpath prepare: LP403 Node node7: .*nf_conntrack_max is not 99000000 /)
    assert.equal(await ofConntrack('udp_timeout'), '41')
  })
})
