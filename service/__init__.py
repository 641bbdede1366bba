"""What every service shares: settings, logging, health and metrics, the MQTT session, a clean stop."""
