import { askTcp, askUdp } from '../../lab/clients.ts'
import { expect, type Point } from './point.ts'

const tries = 12

export const kernel: Point = {
  title: 'Every other protocol: the kernel layer',
  explanation: `${tries} datagrams to a UDP Service and ${tries} connections to a plain TCP Service: nftables chooses the endpoint.`,
  async run({ client, hostsFile }, show) {
    show.command('client', 'echo hello | nc -u dns.default.svc 53')
    const udp = await repeat(() => askUdp(client, 'dns.default.svc', 53, 'hello', { hostsFile }))
    show.command('client', 'echo hello | nc echo.default.svc 7')
    const tcp = await repeat(() => askTcp(client, 'echo.default.svc', 7, 'hello', { hostsFile }))

    show.table(
      ['service', 'answer', 'times'],
      [...rows('dns.default.svc:53 UDP', udp), ...rows('echo.default.svc:7 TCP', tcp)],
    )
    for (const answer of udp) expect(/^dns-[01] hello$/.test(answer), 'a datagram got no answer')
    for (const answer of tcp) expect(/^echo-[01]\nhello$/.test(answer), 'a connection got no answer')
    return `${new Set(udp).size} UDP and ${new Set(tcp).size} TCP endpoints answered, chosen by nftables`
  },
}

/** The answers, up to the first that does not come. */
async function repeat(ask: () => Promise<string>): Promise<string[]> {
  const answers: string[] = []
  while (answers.length < tries && answers.at(-1) !== '') answers.push((await ask()).trim())
  return answers
}

function rows(service: string, answers: readonly string[]): [string, string, number][] {
  const groups = [...Map.groupBy(answers, answer => answer.replace('\n', ', '))].sort()
  return groups.map(([answer, its]) => [service, answer || 'none', its.length])
}
