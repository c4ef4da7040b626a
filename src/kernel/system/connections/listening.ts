import { readFile } from 'node:fs/promises'

/** Whether some process of this network namespace listens on the TCP port (proc_net_tcp: state 0A is LISTEN). */
export async function isListening(port: number): Promise<boolean> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n')
    if (lines.some(line => isListener(line, suffix))) return true
  }
  return false
}

/** `sl local_address rem_address st …` */
function isListener(line: string, suffix: string): boolean {
  const [, local, , state] = line.trim().split(/\s+/)
  return state === '0A' && local !== undefined && local.endsWith(suffix)
}
