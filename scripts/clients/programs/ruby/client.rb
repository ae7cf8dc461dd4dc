# frozen_string_literal: true

# Writes and reads values as Ruby applications do; the protocol is described in scripts/clients/runtimes.py.
# Active Support comes from the gems or packages of this machine.
require 'base64'
require 'json'
require 'openssl'

# OpenSSL of the standard library: base64 of iv, tag and data.
class Bare
  def version = RUBY_VERSION

  def write(key, text)
    cipher = OpenSSL::Cipher.new('aes-256-gcm').encrypt
    cipher.key = key
    iv = cipher.random_iv
    data = cipher.update(text) + cipher.final
    Base64.strict_encode64(iv + cipher.auth_tag + data)
  end

  def read(key, value)
    raw = Base64.strict_decode64(value)
    cipher = OpenSSL::Cipher.new('aes-256-gcm').decrypt
    cipher.key = key
    cipher.iv = raw[0, 12]
    cipher.auth_tag = raw[12, 16]
    cipher.update(raw[28..]) + cipher.final
  end
end

# MessageEncryptor of Rails, with a serializer that changes nothing.
class Rails
  # Takes a text as it is.
  module Plain
    def self.dump(text) = text
    def self.load(text) = text
  end

  def initialize
    require 'active_support'
    require 'active_support/message_encryptor'
  rescue LoadError
    warn 'there is no Active Support here: apt-get install ruby-activesupport'
    exit 3
  end

  def version = ActiveSupport.version.to_s
  def encryptor(key) = ActiveSupport::MessageEncryptor.new(key, cipher: 'aes-256-gcm', serializer: Plain)
  def write(key, text) = encryptor(key).encrypt_and_sign(text)
  def read(key, value) = encryptor(key).decrypt_and_verify(value)
end

asked = JSON.parse($stdin.read)
client = {
  'Ruby OpenSSL, base64 of iv, tag, data' => Bare,
  'Rails, MessageEncryptor' => Rails
}.fetch(asked['client']).new
keys = asked['keys'].transform_values { |secret| [secret].pack('H*') }

def read(client, keys, item)
  keys.each_value do |key|
    return client.read(key, Base64.strict_decode64(item['value'])).dup.force_encoding('UTF-8')
  rescue StandardError => e
    warn "#{item['name']}: #{e.message}"
  end
  nil
end

items = asked['items'] || []
answer =
  case asked['op']
  when 'write' then items.map { |item| Base64.strict_encode64(client.write(keys[item['key']], item['text'])) }
  when 'read' then items.map { |item| read(client, keys, item) }
  else { version: client.version, wraps: false, labels: {}, derived: asked['keys'] }
  end
puts JSON.generate(answer)
