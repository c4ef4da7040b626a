import { runDemo } from '../demo/demo.ts'

export async function demo(keep: boolean): Promise<void> {
  process.exitCode = await runDemo({ keep, out: process.stdout })
}
