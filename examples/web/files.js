// Files of the export.

/** Fetches a file, with an error that names it if there is none. */
export async function fetchFile(url) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Error(`${url} could not be fetched: ${error.message}.`);
  }
  if (!response.ok) throw new Error(`${url} was not found (status ${response.status}).`);
  return response;
}
