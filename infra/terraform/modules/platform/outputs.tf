output "api_domain" { value = module.api.domain }
output "routes" { value = module.api.routes }
output "functions" { value = { for name, one in module.function : name => one.name } }
output "policies" { value = { for name, one in module.function : name => one.policy } }
output "statements" { value = { for name, one in module.function : name => one.statements } }
output "places" { value = local.places }
output "firewall" { value = module.api.firewall }
output "workflows" { value = { for name, one in module.workflow : name => one.name } }
output "alarms" { value = module.alarms.names }
output "alarm_descriptions" { value = module.alarms.descriptions }
output "way_out" { value = module.network.addresses }
output "topics" { value = module.kafka.topics }
output "sftp_endpoint" { value = module.sftp.endpoint }
output "intake_pattern" { value = module.sftp.pattern }
output "sftp_addresses" { value = module.sftp.addresses }
output "environments" { value = { for name, one in module.function : name => keys(one.environment) } }
output "running" {
  value = {
    concurrency = toset([for one in module.function : one.running.concurrency])
    mappings    = toset(flatten([for one in module.function : one.running.mappings]))
    rules       = toset(flatten([for one in module.function : one.running.rules]))
    nightly     = module.nightly.states
  }
}
output "nightly" { value = module.nightly.inputs }
output "queues" { value = { for name, one in module.queue : name => { url = one.url, dead = one.dead_name } } }

output "guards" {
  description = "What the tests hold the installation to."
  value = {
    table_protected     = try(module.table.guards.protected, null)
    table_recoverable   = try(module.table.guards.recoverable, null)
    table_encrypted     = try(module.table.guards.encrypted, null)
    buckets_closed      = alltrue([for one in concat([module.files, module.logs], values(module.files_copy), values(module.logs_copy)) : one.guards.closed])
    copies_locked       = alltrue([for one in values(module.files_copy) : one.guards.locked])
    copies              = length(module.files_copy)
    archives_locked     = module.files.guards.locked
    documents_protected = module.documentdb.guards.protected
    documents_encrypted = module.documentdb.guards.encrypted
  }
}
