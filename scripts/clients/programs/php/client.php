<?php
// Writes and reads values as PHP applications do; the protocol is described in scripts/clients/runtimes.py.
// Laravel's Encrypter is taken from where Debian's package php-illuminate-encryption has it.
const LARAVEL = '/usr/share/php/Illuminate/Encryption/autoload.php';

function bare(): array
{
    return [
        'version' => PHP_VERSION,
        'write' => function ($key, $text) {
            $iv = random_bytes(12);
            $data = openssl_encrypt($text, 'aes-256-gcm', $key, OPENSSL_RAW_DATA, $iv, $tag);
            return base64_encode($iv . $tag . $data);
        },
        'read' => function ($key, $value) {
            $raw = base64_decode($value, true);
            $parts = [substr($raw, 28), substr($raw, 0, 12), substr($raw, 12, 16)];
            return openssl_decrypt($parts[0], 'aes-256-gcm', $key, OPENSSL_RAW_DATA, $parts[1], $parts[2]);
        },
    ];
}

function laravel(): array
{
    if (!is_file(LARAVEL)) {
        fwrite(STDERR, "there is no Laravel here: apt-get install php-illuminate-encryption\n");
        exit(3);
    }
    require_once LARAVEL;
    $open = fn ($key) => new Illuminate\Encryption\Encrypter($key, 'AES-256-GCM');
    return [
        'version' => trim(shell_exec("dpkg-query -W -f='\${Version}' php-illuminate-encryption") ?? ''),
        'write' => fn ($key, $text) => $open($key)->encryptString($text),
        'read' => fn ($key, $value) => $open($key)->decryptString($value),
    ];
}

$asked = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
$client = match ($asked['client']) {
    'PHP `openssl_encrypt`, base64 of iv, tag, data' => bare(),
    'Laravel, Crypt with AES-256-GCM' => laravel(),
};
$keys = array_map('hex2bin', $asked['keys']);
$answer = [];
foreach ($asked['items'] ?? [] as $item) {
    if ($asked['op'] === 'write') {
        $answer[] = base64_encode($client['write']($keys[$item['key']], $item['text']));
        continue;
    }
    $found = null;
    foreach ($keys as $key) {
        try {
            $text = $client['read']($key, base64_decode($item['value']));
            $found = $text === false ? $found : $text;
        } catch (Exception $error) {
            fwrite(STDERR, $item['name'] . ': ' . $error->getMessage() . "\n");
        }
    }
    $answer[] = $found;
}
if ($asked['op'] === 'describe') {
    $answer = ['version' => $client['version'], 'wraps' => false, 'labels' => new stdClass(), 'derived' => $asked['keys']];
}
echo json_encode($answer), "\n";
