/** Whoever waits for longer is told what for, and then as often. */
const patienceMs = 2000

/** Steps are named on standard error where people read; programs may get both outputs as one, as from the log of a pod. */
export function startProgress(command: string, isShown: boolean) {
  let step = ''
  const say = () => isShown && step !== '' && process.stderr.write(`lightpath ${command}: looks at ${step} …\n`)
  const timer = setInterval(say, patienceMs).unref()
  return {
    step: (next: string) => {
      step = next
    },
    stop: () => clearInterval(timer),
  }
}
