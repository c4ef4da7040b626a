/** Writes archives in the format ustar (POSIX.1-1988), which every tar reads. */

export interface ArchiveFile {
  /** A path of at most 100 bytes, relative, with `/`. */
  readonly name: string
  readonly content: Buffer
}

const blockSize = 512

/**
 * Returns the archive, not compressed. Files belong to root, are readable by their owner only, and have the time
 * `time`.
 */
export function tar(files: readonly ArchiveFile[], time: Date): Buffer {
  const parts = files.flatMap(({ name, content }) => [
    header(name, content.length, time),
    content,
    Buffer.alloc((blockSize - (content.length % blockSize)) % blockSize),
  ])
  return Buffer.concat([...parts, Buffer.alloc(2 * blockSize)])
}

function header(name: string, size: number, time: Date): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error(`${name}: a name in an archive has at most 100 bytes`)
  const block = Buffer.alloc(blockSize)
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0')
  block.write(name, 0)
  block.write(octal(0o600, 7), 100)
  block.write(octal(0, 7), 108)
  block.write(octal(0, 7), 116)
  block.write(octal(size, 11), 124)
  block.write(octal(Math.floor(time.getTime() / 1000), 11), 136)
  // The checksum counts its own field as blank.
  block.write(' '.repeat(8), 148)
  block.write('0', 156)
  block.write('ustar\u000000', 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${octal(sum, 6)}\0 `, 148)
  return block
}
