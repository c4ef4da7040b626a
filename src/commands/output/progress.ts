/** Says what a long command waits for, and says it again when that changes or goes on. */
const patienceMs = 2000
const againMs = 10_000

/** Names steps on standard error where people read; programs may get both outputs as one, as from the log of a pod. */
export function startProgress(command: string, isShown: boolean) {
  let step = ''
  let [said, saidAt] = ['', 0]
  const say = () => {
    if (!isShown || step === '' || (step === said && performance.now() - saidAt < againMs)) return
    ;[said, saidAt] = [step, performance.now()]
    process.stderr.write(`lightpath ${command}: looks at ${step} …\n`)
  }
  const timer = setInterval(say, patienceMs).unref()
  return {
    step: (next: string) => {
      step = next
    },
    stop: () => clearInterval(timer),
  }
}
