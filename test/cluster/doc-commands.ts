/** The commands of a document of docs/: its indented blocks, each behind an empty line (CommonMark 4.4). */

import { readFile } from 'node:fs/promises'

export async function blocksOf(document: string): Promise<readonly string[]> {
  const text = await readFile(new URL(`../../docs/${document}`, import.meta.url), 'utf8')
  return text
    .split(/\n(?! {4}|\n)/)
    .map(part => /\n\n(.*)$/s.exec(part)?.[1] ?? '')
    .map(block => block.replaceAll(/^ {4}/gm, '').trim())
    .filter(block => block !== '')
}
